"""The configuration: every key, its type, its default, and what is said when it is wrong.

    config = load_config(None, os.environ)      # $ORBITRACK_CONFIG, else ./orbitrack.toml if there is one, else defaults
    config.windows.lateness_ns

Keys are written as in DESIGN 6: durations "10s", sizes "8MB"; in here they carry their unit (`lateness_ns`). Relative
paths are relative to the file that names them. `python -m streams.config` prints the JSON Schema that is kept in
schemas/config.schema.json. Not here: what a definition, an SLO or a rule file may contain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streams.addresses import parse_address
from streams.clock import NS
from streams.config_types import (
    DurationNs,
    FilePath,
    FilePaths,
    FolderPath,
    KeyProblem,
    ListenFrames,
    ListenHttp,
    Name,
    Network,
    Networks,
    Secret,
    SecretText,
    SizeBytes,
    TimeCodeText,
)
from streams.errors import ConfigError, nearest
from streams.settings import KeyPath, RawSettings, read_settings

__all__ = [
    "CODECS", "Alert", "Collector", "Config", "Database", "Kafka", "Link", "Metrics", "Network", "Objective", "Reference",
    "Secret", "Slo", "Web", "Webhook", "Windows", "describe_error", "find_config", "load_config", "read_config",
]

Codec = Literal["sflow", "netflow", "rack", "ccsds-packets", "tm", "aos", "uslp", "cadu"]
# Those of `orbitrack decode`, where one says what a file holds. "rack" is sFlow and NetFlow on one port, by content.
CODECS: tuple[str, ...] = tuple(codec for codec in get_args(Codec) if codec != "rack")
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
Role = Literal["collect", "worker", "store", "alert", "serve", "gateway"]
Table = Literal[
    "samples", "flows", "windows_10s", "windows_1m", "windows_1h", "windows_1d", "rejects", "alert_events", "deliveries",
    "dead_letters",
]
METRICS_LISTEN: dict[Role, str] = {role: f"127.0.0.1:{9101 + number}" for number, role in enumerate(get_args(Role))}
WAIT = "how long a role that starts waits for it; then exit status 3"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Kafka(Section):
    bootstrap: str = Field(default="127.0.0.1:9092", description="brokers, HOST:PORT, separated by commas")
    partitions: int = Field(default=8, ge=1, le=10_000, description="of topics that orbitrack creates")
    prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$", description="before the name of every topic and group")
    replication: int = Field(default=1, ge=1, le=10, description="of topics that orbitrack creates")
    wait_ns: DurationNs = Field(default=300 * NS, alias="wait", description=WAIT)
    tls: bool = Field(default=False, description="whether to speak TLS with the brokers")
    ca: FilePath | None = Field(default=None, description="PEM file of the authorities to trust; default: the system's")
    certificate: FilePath | None = Field(default=None, description="PEM file of our own certificate, where brokers ask for one")
    key: FilePath | None = Field(default=None, description="PEM file of its key, if that is not in the same file")
    user: str | None = Field(default=None, description="for SASL; default: none")
    password: SecretText | None = Field(default=None, description="of that user")
    mechanism: Mechanism = Field(default="SCRAM-SHA-512", description="of SASL")

    @model_validator(mode="after")
    def check_bootstrap(self) -> Kafka:
        for server in self.bootstrap.split(","):
            try:
                parse_address(server, schemes=("",))
            except ValueError as error:
                raise KeyProblem("bootstrap", f"is not HOST:PORT,...: {error}") from error
        return self

    @model_validator(mode="after")
    def check_login(self) -> Kafka:
        for name in ("ca", "certificate", "key"):
            if getattr(self, name) is not None and not self.tls:
                raise KeyProblem(name, "is of no use without tls = true")
        if self.key is not None and self.certificate is None:
            raise KeyProblem("key", "is of no use without certificate")
        if (self.user is None) != (self.password is None):
            raise KeyProblem("user" if self.password is None else "password", "user and password go together")
        return self


class Login(TypedDict):
    user: str | None
    password: str | None


class Database(Section):
    dsn: str = Field(default="http://127.0.0.1:8123/orbitrack", description="http[s]://[USER:PASSWORD@]HOST:PORT/DATABASE")
    user: str | None = Field(default=None, description="instead of the one in dsn")
    password: SecretText | None = Field(default=None, description="instead of the one in dsn")
    wait_ns: DurationNs = Field(default=300 * NS, alias="wait", description=WAIT)
    ttl: dict[Table, DurationNs] = Field(default={}, description='how long rows stay; "0" is for ever')

    @property
    def login(self) -> Login:
        """`user` and `password` for streams.clickhouse.client.connect; None where the dsn says it."""
        return Login(user=self.user, password=self.password.reveal() if self.password else None)

    @model_validator(mode="after")
    def check_dsn(self) -> Database:
        try:
            parts = urlsplit(self.dsn)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and len(parts.path) > 1
        except ValueError:
            usable = False
        if not usable:
            raise KeyProblem("dsn", "is not http[s]://[USER:PASSWORD@]HOST:PORT/DATABASE")
        return self


class Windows(Section):
    lateness_ns: DurationNs = Field(
        default=30 * NS, alias="lateness", description="how far the watermark stays behind the newest event"
    )
    idle_timeout_ns: DurationNs = Field(
        default=60 * NS, alias="idle_timeout", description="a source silent this long no longer holds windows open"
    )
    allowed_lateness_ns: DurationNs = Field(
        default=120 * NS, alias="allowed_lateness", description="after closing, in which a late sample makes a new revision"
    )


class Collector(Section):
    batch_bytes: SizeBytes = Field(default=256 << 10, description="a batch is sealed at this size,")
    batch_interval_ns: DurationNs = Field(default=50_000_000, alias="batch_interval", description="or at this age,")
    batch_rows: int = Field(default=65_536, ge=1, description="or with so many frames")
    buffer_bytes: SizeBytes = Field(default=256 << 20, description="held while Kafka is slow; more is dropped and counted")
    spill_bytes: SizeBytes = Field(
        default=0, alias="spill", description='datagrams kept in DATA_DIR/spill while Kafka is away; "0B": none'
    )
    socket_buffer_bytes: SizeBytes = Field(default=8 << 20, description="SO_RCVBUF of each UDP socket")
    sockets: int = Field(default=1, ge=1, le=64, description="UDP sockets a listener, sharing the port")
    connections: int = Field(default=64, ge=1, le=10_000, description="TCP connections a listener")


class Link(Section):
    """Where frames come from and what they are. The layout keys are those of `orbitrack decode`."""

    name: Name
    codec: Codec
    definition: FilePath | None = Field(default=None, description="XTCE, or a ccsdspy table (.csv)")
    container: str | None = Field(default=None, description="the root; default: the base-less one with the most heirs")
    parameters: list[str] = Field(default=[], description="only these become samples, by name or XTCE path; empty: all")
    raw: bool = Field(default=False, description="parameters with a calibrator also as sent, as samples of <metric>/raw")
    spacecraft: str | None = Field(default=None, description="entity of the samples; default: the link's name")
    time: TimeCodeText | None = Field(default=None, description="the packets' own time, where no definition says it")
    listen: ListenFrames | None = None
    allow: Networks = Field(default=[], description="senders that are taken; empty: everybody")
    rate: int | None = Field(default=None, ge=1, description="datagrams a second of each sender; more are dropped and counted")
    elements: FilePath | None = Field(default=None, description="enterprise elements of IPFIX, beside those that are known")
    unknown_elements: Literal["skip", "keep"] = Field(default="skip", description="keep: enterprise elements without a name")
    frame_length: int | None = Field(default=None, ge=7, le=65_536, description="bytes of a transfer frame")
    fecf: bool | None = Field(default=None, description="frames end in a CRC-16")
    randomized: bool | None = Field(default=None, description="CADUs are pseudo-randomized")
    rs: Literal["none", "255,223", "255,239"] | None = None
    interleave: int = Field(default=1, ge=1, le=8)
    rs_basis: Literal["dual", "conventional"] = "dual"
    insert_zone: int = Field(default=0, ge=0, le=1024, description="bytes")
    vc_mode: dict[Annotated[int, Field(ge=0, le=63)], Literal["packets", "bytes"]] = {}
    uncounted: list[Annotated[int, Field(ge=0, le=63)]] = Field(
        default=[], description="virtual channels whose frame count means nothing: no losses are read from it"
    )
    ocf: bool | None = Field(default=None, description="frames carry an operational control field")
    header_check: bool = Field(default=False, description="AOS frame headers have error control of their own")
    record_header: int = Field(default=0, ge=0, le=65_535, description="foreign bytes before each record")
    join_segments: bool = False
    idle: bool = Field(default=True, description="keep packets of APID 2047")

    @property
    def entity(self) -> str:
        """The spacecraft's name in samples."""
        return self.spacecraft or self.name

    @property
    def is_rack(self) -> bool:
        return self.codec in ("sflow", "netflow", "rack")

    @model_validator(mode="after")
    def check_fit(self) -> Link:
        if self.is_rack:
            for key in ("definition", "container", "spacecraft", "time", "frame_length", "rs", "fecf"):
                if getattr(self, key) is not None:
                    raise KeyProblem(key, f"means nothing for codec {self.codec}")
            # IPFIX alone has a way to say in a stream where a message ends (RFC 7011 section 10.4).
            if self.listen and not self.listen.startswith("udp://") and self.codec != "netflow":
                raise KeyProblem("listen", f"is not udp://HOST:PORT, but {self.codec} comes in datagrams")
        if self.codec not in ("netflow", "rack"):
            for key in ("elements", "unknown_elements"):
                if key in self.model_fields_set and getattr(self, key) not in (None, "skip"):
                    raise KeyProblem(key, f"means nothing for codec {self.codec}")
        if self.rate and self.listen and not self.listen.startswith("udp://"):
            raise KeyProblem("rate", "is for datagrams; a TCP sender is held back instead")
        if self.container and not self.definition:
            raise KeyProblem("container", "names a container, but there is no definition")
        if self.listen and self.codec in ("tm", "aos") and self.frame_length is None:
            raise KeyProblem("codec", f"{self.codec} needs frame_length")
        return self


class Objective(Section):
    """A threshold counted exactly at ingest, for SLOs on values: `good` is how many samples kept it."""

    metric: str
    op: Literal["le", "lt", "ge", "gt"]
    value: float = Field(allow_inf_nan=False)


class Slo(Section):
    files: FilePaths = Field(default=[], description="OpenSLO v1 and MaintenancePolicy")


class Reference(Section):
    files: FilePaths = Field(default=[], description="entities, maintenance and contacts, YAML or CSV")


class Alert(Section):
    rules: FilePaths = Field(default=[], description="rule files")
    poll_ns: DurationNs = Field(default=60 * NS, alias="poll", description="how often rules on roll-ups are evaluated")


class Webhook(Section):
    name: Name
    url: str
    secret: SecretText | None = Field(default=None, description="Standard Webhooks: whsec_ and base64")
    format: Literal["alertmanager", "alertmanager-api", "slack", "pagerduty", "template"] = "alertmanager"
    template: FilePath | None = None
    max_attempts: int = Field(default=288, ge=1, le=1000, description="about 12 hours of a receiver that is down")
    timeout_ns: DurationNs = Field(default=10 * NS, alias="timeout")
    allow: Networks = Field(default=[], description="private networks that the receiver may be in")

    @model_validator(mode="after")
    def check_fit(self) -> Webhook:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise KeyProblem("url", "is not http[s]://HOST[:PORT]/PATH")
        if (self.format == "template") != (self.template is not None):
            raise KeyProblem("template", 'and format = "template" belong together')
        return self


class Web(Section):
    listen: ListenHttp = "127.0.0.1:8080"


class Metrics(Section):
    listen: dict[Role, ListenHttp] = Field(
        default=METRICS_LISTEN, description="HOST:PORT of /metrics, /healthz and /readyz by role; port 0 takes a free one"
    )

    @model_validator(mode="before")
    @classmethod
    def keep_other_roles(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("listen"), dict):
            return given | {"listen": METRICS_LISTEN | given["listen"]}
        return given


class Config(Section):
    kafka: Kafka = Kafka()
    database: Database = Database()
    windows: Windows = Windows()
    collector: Collector = Collector()
    links: list[Link] = Field(default=[], alias="link")
    objectives: list[Objective] = Field(default=[], alias="objective")
    slo: Slo = Slo()
    reference: Reference = Reference()
    alert: Alert = Alert()
    webhooks: list[Webhook] = Field(default=[], alias="webhook")
    web: Web = Web()
    metrics: Metrics = Metrics()
    data_dir: FolderPath = Path("orbitrack-data")

    @model_validator(mode="after")
    def check_names(self) -> Config:
        for key, names in (("link", [link.name for link in self.links]), ("webhook", [hook.name for hook in self.webhooks])):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise KeyProblem((key, index, "name"), f"'{name}' is taken by another [[{key}]]")
        return self

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def dump(self) -> dict[str, Any]:
        """As it would be written in the file, with all defaults and without secrets."""
        everything = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        values = {key: value for key, value in everything.items() if value != []}
        parts = urlsplit(self.database.dsn)
        if parts.password:
            netloc = f"{parts.username or ''}:<redacted>@{parts.netloc.rpartition('@')[2]}"
            values["database"]["dsn"] = urlunsplit(parts._replace(netloc=netloc))
        return values


def find_config(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that `load_config` reads: the one given, else $ORBITRACK_CONFIG, else ./orbitrack.toml if it exists."""
    if path is not None:
        return path
    if environ.get("ORBITRACK_CONFIG"):
        return Path(environ["ORBITRACK_CONFIG"])
    here = Path("orbitrack.toml")
    return here if here.exists() else None


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Raises ConfigError for the first mistake, in at most three lines."""
    config, errors = read_config(path, environ)
    if config is None:
        raise errors[0]
    return config


def read_config(path: Path | None, environ: Mapping[str, str]) -> tuple[Config | None, list[ConfigError]]:
    """The configuration, or every mistake in it in the order of the file."""
    file = find_config(path, environ)
    try:
        raw = read_settings(file, environ)
    except ConfigError as error:
        return None, [error]
    context = {"base": file.absolute().parent if file else Path.cwd(), "environ": environ}
    try:
        return Config.model_validate(raw.values, context=context), []
    except ValidationError as error:
        # Without pydantic's own input, url and context: they may hold secrets.
        errors = [config_error(raw, entry) for entry in error.errors(include_url=False)]
        return None, sorted(errors, key=lambda e: (e.line is None, e.line or 0))


def config_error(raw: RawSettings, error: Any) -> ConfigError:
    path, what, hint = describe_error(error)
    file, line = raw.place(path)
    return ConfigError(what, file=file, line=line, path=dotted(path) if len(path) > 1 else None, hint=hint)


def describe_error(error: Any) -> tuple[KeyPath, str, str | None]:
    """(the key's path, what is wrong with it, hint) of one entry of pydantic's `errors()`."""
    cause = error.get("ctx", {}).get("error")
    path: KeyPath = tuple(error["loc"]) + (cause.key if isinstance(cause, KeyProblem) else ())
    path = tuple(part for part in path if part != "[key]")
    return path, *describe(path, error, cause)


def describe(path: KeyPath, error: Any, cause: Exception | None) -> tuple[str, str | None]:
    key, kind = path[-1] if path else "", error["type"]
    if kind == "extra_forbidden":
        return f"unknown {'section' if isinstance(error['input'], dict) else 'key'} '{key}'", unknown_key_hint(path)
    if kind == "literal_error" and error["loc"][-1] == "[key]":
        return f"unknown key '{key}'", choice_hint(str(key), error)
    if kind == "missing":
        return f"'{key}' is missing", None
    if cause is not None:
        text = str(cause)
        return (text if text.startswith(("'", "there", "the ")) else f"'{key}' {text}"), None
    if kind == "literal_error":
        return f"'{key}' cannot be {error['input']!r}", choice_hint(str(error["input"]), error)
    if kind == "list_type" and isinstance(error["input"], dict):
        return f"'{key}' is a list of tables", f"write [[{key}]]"
    if kind == "model_type" and isinstance(error["input"], list):
        return f"'{key}' is one table", f"write [{key}]"
    found = "" if key in ("secret", "password", "dsn") else f" {error['input']!r}"
    if kind == "string_pattern_mismatch":
        return f"'{key}' cannot be{found[:80]}", "letters, digits and . _ - only, at most 64"
    return f"'{key}' cannot be{found[:80]}", error["msg"][:1].lower() + error["msg"][1:]


def choice_hint(word: str, error: Any) -> str:
    expected: str = error["ctx"]["expected"]
    match = nearest(word, [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")])
    return f"did you mean '{match}'?" if match else f"one of {expected}"


def unknown_key_hint(path: KeyPath) -> str:
    section = section_at(path[:-1])
    word = str(path[-1])
    known = keys(section) if section else []
    if match := nearest(word, known):
        return f"did you mean '{match}'?"
    owners = [f"[[{name}]]" if is_list else f"[{name}]" for name, is_list, other in sections() if word in keys(other)]
    if owners:
        return f"that is a key of {' and '.join(owners)}"
    return f"known here: {', '.join(known)}"


def keys(section: type[Section]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def sections() -> Iterator[tuple[str, bool, type[Section]]]:
    for name, field in Config.model_fields.items():
        is_list = bool(get_args(field.annotation))
        inner = get_args(field.annotation)[0] if is_list else field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield field.alias or name, is_list, inner


def section_at(path: KeyPath) -> type[Section] | None:
    if not path:
        return Config
    return next((section for name, _, section in sections() if name == path[0]), None)


def dotted(path: KeyPath) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".")


def json_schema() -> str:
    schema = Config.model_json_schema(by_alias=True)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "orbitrack.toml"} | schema
    return json.dumps(schema, indent=2, sort_keys=False) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")

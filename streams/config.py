"""The configuration: every key, its type, its default, and what is said when it is wrong.

    config = load_config(None, os.environ)      # $ORBITRACK_CONFIG, else ./orbitrack.toml if there is one, else defaults
    config.windows.lateness_ns

Keys are a contract: durations "10s", sizes "8MB"; in here they carry their unit (`lateness_ns`). Relative
paths are relative to the file that names them. `python -m streams.config` prints the JSON Schema that is kept in
schemas/config.schema.json. `[[link]]` is in config_links.py, what is said of mistakes in config_mistakes.py. Not here: what a
definition, an SLO or a rule file may contain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from streams.addresses import Address, parse_address
from streams.clock import NS
from streams.config_links import CODECS, Link
from streams.config_mistakes import examine
from streams.config_types import (
    DurationNs,
    FilePath,
    FilePaths,
    FolderPath,
    KeyProblem,
    ListenHttp,
    Name,
    Network,
    Networks,
    Secret,
    SecretText,
    Section,
    SizeBytes,
)
from streams.errors import ConfigError
from streams.settings import read_settings

__all__ = [
    "CODECS", "Alert", "Collector", "Config", "Database", "Kafka", "Link", "Metrics", "Network", "Objective", "Reference",
    "Secret", "Slo", "Web", "Webhook", "Windows", "examine_config", "find_config", "load_config",
]

Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
Role = Literal["collect", "worker", "store", "alert", "serve", "gateway"]
Table = Literal[
    "samples", "flows", "windows_10s", "windows_1m", "windows_1h", "windows_1d", "rejects", "alert_events", "deliveries",
    "dead_letters",
]
METRICS_LISTEN: dict[Role, str] = {role: f"127.0.0.1:{9101 + number}" for number, role in enumerate(get_args(Role))}
# Half of what streams/kafka.py lets a message have; what setsockopt(2) takes and the kernel doubles; what one batch may go
# beyond its size.
BATCH_BYTES_MAX = 2 << 20
SOCKET_BUFFER_BYTES_MAX = (1 << 30) - 1
FRAME_BYTES_MAX = 64 << 10
WAIT = "how long a role that starts waits for it; then exit status 3"


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
                raise KeyProblem(name, "is of no use without tls = true", "tls")
        if self.key is not None and self.certificate is None:
            raise KeyProblem("key", "is of no use without certificate", "certificate")
        if (self.user is None) != (self.password is None):
            given, other = ("user", "password") if self.password is None else ("password", "user")
            raise KeyProblem(given, "user and password go together", other)
        return self


class Login(TypedDict):
    user: str | None
    password: str | None


class Database(Section):
    dsn: str = Field(
        default="http://127.0.0.1:8123/orbitrack", description="http[s]://[USER:PASSWORD@]HOST:PORT/DATABASE", repr=False
    )
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
    batch_bytes: SizeBytes = Field(default=256 << 10, description="a batch is sealed at this size (2MiB at most),")
    batch_interval_ns: DurationNs = Field(default=50_000_000, alias="batch_interval", description="or at this age,")
    batch_rows: int = Field(default=65_536, ge=1, description="or with so many frames")
    buffer_bytes: SizeBytes = Field(
        default=256 << 20, description="held while Kafka is slow, two batches at least; more is dropped and counted"
    )
    spill_bytes: SizeBytes = Field(
        default=0, alias="spill", description='datagrams kept in DATA_DIR/spill while Kafka is away; "0B": none'
    )
    socket_buffer_bytes: SizeBytes = Field(default=8 << 20, description="SO_RCVBUF of each UDP socket")
    sockets: int = Field(default=1, ge=1, le=64, description="UDP sockets a listener, sharing the port")
    connections: int = Field(default=64, ge=1, le=10_000, description="TCP connections a listener")

    @model_validator(mode="after")
    def check_sizes(self) -> Collector:
        if not 0 < self.batch_bytes <= BATCH_BYTES_MAX:
            raise KeyProblem("batch_bytes", "is more than 0B and 2MiB at most: a message of Kafka has to hold it")
        if not 0 < self.socket_buffer_bytes <= SOCKET_BUFFER_BYTES_MAX:
            raise KeyProblem("socket_buffer_bytes", "is more than 0B and less than 1GiB: the kernel takes no more")
        if self.buffer_bytes < 2 * (self.batch_bytes + FRAME_BYTES_MAX):
            raise KeyProblem("buffer_bytes", "holds fewer than two batches of batch_bytes and a frame of 64KiB", "batch_bytes")
        if 0 < self.spill_bytes < 2 * self.batch_bytes:
            raise KeyProblem("spill", "holds fewer than two batches of batch_bytes", "batch_bytes")
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

    @model_validator(mode="after")
    def check_poll(self) -> Alert:
        if self.poll_ns < NS:
            raise KeyProblem("poll", "is a second at least: so often the database is asked")
        return self


class Webhook(Section):
    name: Name
    url: str = Field(repr=False)                            # Slack's is a secret
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
        if not self.timeout_ns:
            raise KeyProblem("timeout", "is more than 0: a receiver that never answers would hold up all after it")
        if (self.format == "template") != (self.template is not None):
            raise KeyProblem("template", 'and format = "template" belong together', "format")
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

    @model_validator(mode="after")
    def check_addresses(self) -> Config:
        taken: list[tuple[str, Address]] = []
        for index, link in enumerate(self.links):
            if link.listen is None:
                continue
            address = parse_address(link.listen)
            for name, other in taken:
                if address.overlaps(other):
                    raise KeyProblem(("link", index, "listen"), f"is taken by link '{name}', which listens on {other}")
            taken.append((link.name, address))
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
    config, errors = examine_config(path, environ)
    for error in errors:
        raise error
    return config


def examine_config(path: Path | None, environ: Mapping[str, str]) -> tuple[Config, list[ConfigError]]:
    """The configuration, and every mistake in it in the order of the file; with mistakes, what is right of it."""
    file = find_config(path, environ)
    try:
        raw = read_settings(file, environ)
    except ConfigError as error:
        return Config(), [error]
    return examine(Config, raw, {"base": file.absolute().parent if file else Path.cwd(), "environ": environ})


def json_schema() -> str:
    schema = Config.model_json_schema(by_alias=True)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "orbitrack.toml"} | schema
    return json.dumps(schema, indent=2, sort_keys=False) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")

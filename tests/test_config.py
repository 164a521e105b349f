"""Settings: every mistake named with its place and what would be right; every type read as a person writes it."""

from __future__ import annotations

import json
import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest

from streams.clock import NS
from streams.config import CODECS, Config, Secret, examine_config, json_schema, load_config
from streams.config_mistakes import STAND_INS
from streams.config_types import format_duration, format_size, parse_size_bytes
from streams.errors import ConfigError
from streams.settings import key_lines
from streams.toml import to_toml
from tests.conftest import REPOSITORY

BAD = REPOSITORY / "tests" / "definitions" / "bad"

# File (config_NAME.toml), line, what is said, key path, hint: the three lines of each message.
MISTAKES = [
    ("unknown_key", 3, "unknown key 'idle_timout'", "windows.idle_timout", "did you mean 'idle_timeout'?"),
    ("unknown_section", 4, "unknown section 'window'", None, "did you mean 'windows'?"),
    ("key_of_other_section", 3, "unknown key 'lateness'", "kafka.lateness", "that is a key of [windows]"),
    ("key_unlike_any_other", 2, "unknown key 'colour'", "web.colour", "known here: listen"),
    ("key_twice", 3, "is not TOML: cannot overwrite a value", None, None),
    ("section_is_a_list", 1, "'kafka' is one table", None, "write [kafka]"),
    ("link_is_a_table", 1, "'link' is a list of tables", None, "write [[link]]"),
    ("link_misspelt_key", 8, "unknown key 'spacecaft'", "link[1].spacecaft", "did you mean 'spacecraft'?"),
    ("link_rate", 4, "unknown key 'rate'", "link[0].rate", "did you mean 'rate_limit'?"),
    ("link_unknown_codec", 3, "'codec' cannot be 's-flow'", "link[0].codec", "did you mean 'sflow'?"),
    (
        "link_time_of_17_bits", 4, "there is no such cds: cds:16 or 24 bits of days, .0, .16 or .32 bits below the ms",
        "link[0].time", None,
    ),
    ("link_without_codec", 1, "'codec' is missing", "link[0].codec", None),
    ("link_name_twice", 6, "'racks' is taken by another [[link]]", "link[1].name", None),
    ("link_name_with_space", 2, "'name' cannot be 'my racks'", "link[0].name", "letters, digits and . _ - only, at most 64"),
    ("link_definition_absent", 4, f"there is no file {BAD / 'no-such.xml'}", "link[0].definition", None),
    ("link_definition_of_rack", 4, "'definition' means nothing for codec sflow", "link[0].definition", None),
    (
        "link_container_without_definition", 4, "'container' names a container, but there is no definition",
        "link[0].container", None,
    ),
    (
        "link_parameters_without_definition", 4, "'parameters' names parameters, but there is no definition",
        "link[0].parameters", None,
    ),
    (
        "link_listen_without_port", 4, "'udp://0.0.0.0' has no host or no port; write for example 127.0.0.1:6343",
        "link[0].listen", None,
    ),
    (
        "link_listen_without_scheme", 4, "'0.0.0.0:6343' is not an address; write udp://HOST:PORT or tcp://HOST:PORT",
        "link[0].listen", None,
    ),
    (
        "link_listen_tcp_for_datagrams", 4, "'listen' is not udp://HOST:PORT, but sflow comes in datagrams",
        "link[0].listen", None,
    ),
    (
        "link_allow_not_a_network", 4, "'10.0.0.1/8' is not a network such as 10.0.0.0/8: 10.0.0.1/8 has host bits set",
        "link[0].allow[1]", None,
    ),
    ("link_frames_without_length", 3, "'codec' tm needs frame_length", "link[0].codec", None),
    ("duration_without_unit", 2, "'30' has no unit; write for example \"30s\"", "windows.lateness", None),
    ("duration_unknown_unit", 2, "'30sec' is not a duration; write for example 10s, 5m, 1h30m, 14d", "windows.lateness", None),
    ("duration_of_centuries", 2, "'300000d' is longer than a hundred years", "windows.lateness", None),
    ("poll_without_pause", 2, "'poll' is a second at least: so often the database is asked", "alert.poll", None),
    (
        "webhook_without_timeout", 4, "'timeout' is more than 0: a receiver that never answers would hold up all after it",
        "webhook[0].timeout", None,
    ),
    ("size_without_unit", 2, "'256' is not a size; write for example 256KiB, 8MB, 1GiB", "collector.buffer_bytes", None),
    ("size_unknown_unit", 2, "'256 megs' is not a size; write for example 256KiB, 8MB, 1GiB", "collector.buffer_bytes", None),
    (
        "batch_larger_than_a_message", 2, "'batch_bytes' is more than 0B and 2MiB at most: a message of Kafka has to hold it",
        "collector.batch_bytes", None,
    ),
    (
        "batch_of_nothing", 2, "'batch_bytes' is more than 0B and 2MiB at most: a message of Kafka has to hold it",
        "collector.batch_bytes", None,
    ),
    (
        "socket_buffer_too_large", 2, "'socket_buffer_bytes' is more than 0B and less than 1GiB: the kernel takes no more",
        "collector.socket_buffer_bytes", None,
    ),
    (
        "buffer_too_small", 3, "'buffer_bytes' holds fewer than two batches of batch_bytes and a frame of 64KiB",
        "collector.buffer_bytes", None,
    ),
    (
        "spill_too_small", 2, "'spill' holds fewer than two batches of batch_bytes", "collector.spill", None,
    ),
    (
        "link_listen_taken", 9, "'listen' is taken by link 'racks', which listens on udp://0.0.0.0:6343", "link[1].listen",
        None,
    ),
    ("partitions_zero", 2, "'partitions' cannot be 0", "kafka.partitions", "input should be greater than or equal to 1"),
    (
        "partitions_text", 2, "'partitions' cannot be 'many'", "kafka.partitions",
        "input should be a valid integer, unable to parse string as an integer",
    ),
    ("dsn_without_database", 2, "'dsn' is not http[s]://[USER:PASSWORD@]HOST:PORT/DATABASE", "database.dsn", None),
    ("ttl_unknown_table", 2, "unknown key 'sample'", "database.ttl.sample", "did you mean 'samples'?"),
    ("secret_variable_unset", 4, "the environment variable ORBITRACK_TEST_UNSET is not set", "webhook[0].secret", None),
    (
        "secret_file_absent", 4, f"the secret's file {BAD / 'no-such-secret'} cannot be read: No such file or directory",
        "webhook[0].secret", None,
    ),
    ("webhook_url_without_scheme", 3, "'url' is not http[s]://HOST[:PORT]/PATH", "webhook[0].url", None),
    ("webhook_unknown_format", 4, "'format' cannot be 'slak'", "webhook[0].format", "did you mean 'slack'?"),
    ("webhook_template_without_format", 4, "'template' and format = \"template\" belong together", "webhook[0].template", None),
    ("objective_unknown_operator", 3, "'op' cannot be '<='", "objective[0].op", "one of 'le', 'lt', 'ge' or 'gt'"),
    ("objective_value_nan", 4, "'value' cannot be nan", "objective[0].value", "input should be a finite number"),
    ("slo_pattern_matches_nothing", 2, "'no-such-*.yaml' matches no file", "slo.files", None),
    ("metrics_unknown_role", 2, "unknown key 'wroker'", "metrics.listen.wroker", "did you mean 'worker'?"),
    (
        "metrics_port_too_large", 2, "'127.0.0.1:91020': '91020' is not a port; ports are 0 to 65535",
        "metrics.listen.worker", None,
    ),
    (
        "not_toml_colon", 2, "is not TOML: expected '=' after a key in a key/value pair", None,
        "TOML writes `key = value`, not `key: value`",
    ),
    (
        "not_toml_unquoted", 2, "is not TOML: expected newline or end of document after a statement", None,
        'text stands in quotes: key = "text"',
    ),
    ("not_toml_unclosed", 1, "is not TOML: expected ']' at the end of a table declaration", None, None),
    ("not_utf8", 2, "is not UTF-8 text", None, None),
]


def write(folder: Path, text: str) -> Path:
    file = folder / "orbitrack.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("name", "line", "what", "path", "hint"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_mistake_is_named_in_three_lines(name: str, line: int, what: str, path: str | None, hint: str | None) -> None:
    file = BAD / f"config_{name}.toml"
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    expected = [f"{file}:{line}: {what}"] + [f"  at {path}"] * bool(path) + [f"  hint: {hint}"] * bool(hint)
    assert str(caught.value).splitlines() == expected


def test_every_bad_configuration_is_in_the_table() -> None:
    assert {file.stem.removeprefix("config_") for file in BAD.glob("config_*.toml")} == {mistake[0] for mistake in MISTAKES}


def test_all_mistakes_of_a_file_come_in_its_order(tmp_path: Path) -> None:
    file = write(tmp_path, '[web]\nlisten = "x"\n[kafka]\npartition = 8\nreplication = 0\n')
    config, errors = examine_config(file, {})
    assert config == Config()
    places = [(error.line, error.path) for error in errors]
    assert places == [(2, "web.listen"), (4, "kafka.partition"), (5, "kafka.replication")]


def test_wholes_are_looked_at_although_parts_are_wrong(tmp_path: Path) -> None:
    file = write(tmp_path, """\
[kafka]
partitions = 0
bootstrap = "nobody"
key = "orbitrack.toml"
[[link]]
name = "a"
codec = "sflow"
container = "x"
listen = "tcp://127.0.0.1:1"
rate_limit = 5
[[link]]
name = "a"
codec = "sflowx"
[[link]]
name = "a b"
codec = "tm"
listen = "tcp://127.0.0.1:1"
rate_limit = 5
[[webhook]]
name = "ops"
url = "nowhere"
format = "template"
[[webhook]]
name = "ops"
""")
    _, errors = examine_config(file, {})
    assert [(error.line, error.what) for error in errors] == [
        (2, "'partitions' cannot be 0"),
        (3, "'bootstrap' is not HOST:PORT,...: 'nobody' has no host or no port; write for example 127.0.0.1:6343"),
        (4, "'key' is of no use without tls = true"), (8, "'container' means nothing for codec sflow"),
        (9, "'listen' is not udp://HOST:PORT, but sflow comes in datagrams"), (12, "'a' is taken by another [[link]]"),
        (13, "'codec' cannot be 'sflowx'"), (15, "'name' cannot be 'a b'"), (16, "'codec' tm needs frame_length"),
        (18, "'rate_limit' is for datagrams; a TCP sender is held back instead"),
        (19, "'template' and format = \"template\" belong together"),
        (21, "'url' is not http[s]://HOST[:PORT]/PATH"), (23, "'url' is missing"),
        (24, "'ops' is taken by another [[webhook]]"),
    ]


def test_what_follows_from_a_mistake_is_none_of_its_own(tmp_path: Path) -> None:
    """A definition that is absent, a misspelt frame_length, a user whose password is not set: each is told once."""
    file = write(tmp_path, """\
[kafka]
user = "me"
password = "env:ORBITRACK_TEST_UNSET"
[[link]]
name = "a"
codec = "ccsds-packets"
definition = "absent.xml"
container = "Root"
[[link]]
name = "b"
codecc = "tm"
frame_lenght = 1115
listen = "tcp://127.0.0.1:1"
""")
    _, errors = examine_config(file, {})
    assert [(error.line, error.path) for error in errors] == [
        (3, "kafka.password"), (7, "link[0].definition"), (11, "link[1].codecc"), (12, "link[1].frame_lenght"),
    ]


def test_what_is_right_of_a_wrong_configuration_is_kept(tmp_path: Path) -> None:
    file = write(tmp_path, '[windows]\nlateness = "5"\nidle_timeout = "7s"\n[[link]]\nname = "a"\ncodec = "x"\n')
    config, errors = examine_config(file, {})
    assert len(errors) == 2
    assert (config.windows.lateness_ns, config.windows.idle_timeout_ns, config.links[0].name) == (30 * NS, 7 * NS, "a")


def test_every_key_that_must_be_there_has_a_stand_in() -> None:
    sections = json.loads(json_schema())["$defs"].values()
    assert {key for section in sections for key in section.get("required", ())} == set(STAND_INS)


def test_defaults_are_those_of_the_design() -> None:
    config = load_config(None, {})
    assert (config.kafka.bootstrap, config.kafka.partitions, config.kafka.prefix) == ("127.0.0.1:9092", 8, "")
    assert config.database.dsn == "http://127.0.0.1:8123/orbitrack"
    windows = config.windows
    assert (windows.lateness_ns, windows.idle_timeout_ns, windows.allowed_lateness_ns) == (30 * NS, 60 * NS, 120 * NS)
    assert config.web.listen == "127.0.0.1:8080"


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "jpss1.xml").write_text("<x/>")
    file = write(folder, 'data_dir = "../var"\n[[link]]\nname = "jpss1"\ncodec = "ccsds-packets"\ndefinition = "jpss1.xml"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config(file, {"ORBITRACK__DATA_DIR": "here"})
    assert config.links[0].definition == folder / "jpss1.xml"
    assert config.data_dir == tmp_path / "here"
    assert load_config(file, {}).data_dir == tmp_path / "var"


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[kafka]\nprefix = "a."\n[[link]]\nname = "racks"\ncodec = "sflow"\n')
    environ = {
        "ORBITRACK__KAFKA__PREFIX": "b.", "ORBITRACK__KAFKA__PARTITIONS": "3", "ORBITRACK__WINDOWS__LATENESS": "5s",
        "ORBITRACK__DATABASE__TTL__SAMPLES": "14d", "ORBITRACK__LINK__0__ALLOW": "10.0.0.0/8, 192.0.2.0/24",
        "ORBITRACK__LINK__1__NAME": "flows", "ORBITRACK__LINK__1__CODEC": "netflow",
        "ORBITRACK__LINK__1__ALLOW": '["2001:db8::/32"]',
    }
    config = load_config(file, environ)
    assert (config.kafka.prefix, config.kafka.partitions, config.windows.lateness_ns) == ("b.", 3, 5 * NS)
    assert config.database.ttl == {"samples": 14 * 86_400 * NS}
    assert config.links[0].allow == [ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24")]
    assert (config.links[1].name, config.links[1].allow) == ("flows", [ip_network("2001:db8::/32")])


@pytest.mark.parametrize(
    ("variable", "value", "lines"),
    [
        (
            "ORBITRACK__KAFKA__PARTITION", "3",
            ["unknown key 'partition'", "  at kafka.partition", "  hint: did you mean 'partitions'?"],
        ),
        (
            "ORBITRACK__WINDOWS__LATENESS", "30",
            ["'30' is not a duration; write for example 10s, 5m, 1h30m, 14d", "  at windows.lateness"],
        ),
        (
            "ORBITRACK__LINK__2__NAME", "x",
            [
                "there is no element 2; the next free one is 0",
                "  hint: elements of a list are counted 0, 1, 2, ... and each is written from its first key on",
            ],
        ),
        (
            "ORBITRACK__KAFKA", "x",
            ["'kafka' is a table", "  hint: write [kafka] and its keys below"],
        ),
        (
            "ORBITRACK__LINK__0__ALLOW", "[x",
            [
                "is neither text nor a TOML list: Invalid value (at line 1, column 10)",
                "  hint: a text that begins with a bracket goes into the file, a secret into a variable of its own: env:NAME",
            ],
        ),
    ],
)
def test_mistake_in_the_environment_names_the_variable(variable: str, value: str, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {variable: value})
    assert str(caught.value).splitlines() == [f"${variable}: {lines[0]}", *lines[1:]]


def test_file_is_found_by_option_then_variable_then_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("orbitrack", "variable", "option"):
        (tmp_path / f"{name}.toml").write_text(f'[kafka]\nprefix = "{name}."\n')
    environ = {"ORBITRACK_CONFIG": str(tmp_path / "variable.toml")}
    assert load_config(tmp_path / "option.toml", environ).kafka.prefix == "option."
    assert load_config(None, environ).kafka.prefix == "variable."
    assert load_config(None, {}).kafka.prefix == "orbitrack."


def test_absent_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: cannot be read: No such file or directory"):
        load_config(tmp_path / "no.toml", {})


@pytest.mark.parametrize(
    ("given", "environ", "secret"),
    [("s3cret", {}, "s3cret"), ("env:HOOK", {"HOOK": "s3cret"}, "s3cret"), ("file:secret", {}, "s3cret")],
)
def test_secret_is_read_from_where_it_is_and_never_shown(
    tmp_path: Path, given: str, environ: dict[str, str], secret: str
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    file = write(tmp_path, f'[[webhook]]\nname = "ops"\nurl = "https://127.0.0.1/x"\nsecret = "{given}"\n')
    config = load_config(file, environ)
    assert config.webhooks[0].secret == Secret(secret)
    assert config.webhooks[0].secret is not None
    assert config.webhooks[0].secret.reveal() == secret
    for shown in (repr(config), str(config), to_toml(config.dump()), f"{config.webhooks[0].secret}", config.model_dump_json()):
        assert secret not in shown


def test_mistake_near_a_secret_does_not_show_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"ORBITRACK__DATABASE__DSN": "ftp://me:s3cret@127.0.0.1/x"})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"ORBITRACK__DATABASE__PASSWORD__X": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_dump_is_read_as_the_same_configuration(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'data_dir = "d"\n[database]\nttl = {samples = "14d", rejects = "0"}\n[windows]\nlateness = "1500ms"\n'
        '[[link]]\nname = "racks"\ncodec = "sflow"\nlisten = "udp://[::]:6343"\nallow = ["10.0.0.0/8"]\n'
        '[[link]]\nname = "down"\ncodec = "aos"\nframe_length = 892\nvc_mode = {1 = "packets", 2 = "bytes"}\nfecf = true\n'
        '[[objective]]\nmetric = "a \\"b\\""\nop = "le"\nvalue = 4.5\n',
    )
    config = load_config(file, {})
    again = tmp_path / "again.toml"
    again.write_text(to_toml(config.dump()))
    assert load_config(again, {}) == config


def test_the_password_of_the_dsn_is_in_no_dump_and_no_traceback() -> None:
    config = load_config(None, {"ORBITRACK__DATABASE__DSN": "http://me:s3cret@127.0.0.1:8123/orbitrack"})
    assert config.dump()["database"]["dsn"] == "http://me:<redacted>@127.0.0.1:8123/orbitrack"
    assert "s3cret" not in f"{config!r} {config}"


def test_metrics_of_one_role_leave_the_others_at_their_defaults() -> None:
    config = load_config(None, {"ORBITRACK__METRICS__LISTEN__STORE": "127.0.0.1:0"})
    assert config.metrics.listen["store"] == "127.0.0.1:0"
    assert config.metrics.listen["worker"] == "127.0.0.1:9102"


def test_schema_in_the_repository_is_current() -> None:
    stored = (REPOSITORY / "schemas" / "config.schema.json").read_text()
    assert stored == json_schema(), "run `python -m streams.config > schemas/config.schema.json`"
    assert json.loads(stored)["properties"]["link"]["type"] == "array"


def test_every_key_has_a_description_or_speaks_for_itself() -> None:
    silent = {"name", "codec", "listen", "metric", "op", "value", "url", "format", "template", "max_attempts", "timeout"}
    silent |= {"rs", "interleave", "rs_basis", "vc_mode", "join_segments"}
    for section in json.loads(json_schema())["$defs"].values():
        for key, schema in section["properties"].items():
            assert "description" in schema or key in silent, key


def test_documented_example_is_valid(tmp_path: Path) -> None:
    """The keys that are promised."""
    (tmp_path / "jpss1.xml").write_text("<x/>")
    text = """
[kafka]
bootstrap = "127.0.0.1:9092"
partitions = 8
prefix = ""
[database]
dsn = "http://127.0.0.1:8123/orbitrack"
[windows]
lateness = "30s"
idle_timeout = "60s"
[[link]]                        # where frames come from and what they are
name = "jpss1"
codec = "ccsds-packets"
definition = "jpss1.xml"        # XTCE, relative to this file
spacecraft = "JPSS-1"
listen = "tcp://0.0.0.0:7001"   # optional; udp:// for datagrams
[[link]]
name = "racks"
codec = "sflow"
listen = "udp://0.0.0.0:6343"
allow = ["10.0.0.0/8"]
"""
    config = load_config(write(tmp_path, text), {})
    assert [link.entity for link in config.links] == ["JPSS-1", "racks"]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_of_the_contract_is_a_link(codec: str) -> None:
    config = Config.model_validate({"link": [{"name": "x", "codec": codec}]})
    assert config.links[0].is_rack == (codec in ("sflow", "netflow"))


@pytest.mark.parametrize(
    ("text", "size"), [("8MB", 8_000_000), ("256KiB", 262_144), ("1GiB", 1 << 30), ("1.5kB", 1500), ("0B", 0)]
)
def test_size_is_read_and_written(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size
    assert parse_size_bytes(format_size(size)) == size


@pytest.mark.parametrize(
    ("duration_ns", "text"), [(0, "0"), (90 * NS, "90s"), (60 * NS, "1m"), (1_500_000_000, "1500ms"), (14 * 86_400 * NS, "14d")]
)
def test_duration_is_written_in_one_unit(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


def test_lines_of_keys_survive_every_shape_of_toml() -> None:
    text = '''top = 1
"quoted key" = [
  "]",  # a bracket ] in a string and a comment
  """multi
[not.a.table]
line""",
]
[a.b]
c.d = {e = 1, f = "x # y"}
text = \'\'\'
[[neither]]
\'\'\'
[[l]]
x = 1
[[l]]
  [l.inner]
  y = "="
[[l.deep]]
z = 1
'''
    tomllib.loads(text)
    assert dict(key_lines(text)) == {
        ("top",): 1, ("quoted key",): 2, ("a", "b"): 8, ("a", "b", "c"): 9, ("a", "b", "c", "d"): 9, ("a", "b", "text"): 10,
        ("l",): 13, ("l", 0): 13, ("l", 0, "x"): 14, ("l", 1): 15, ("l", 1, "inner"): 16, ("l", 1, "inner", "y"): 17,
        ("l", 1, "deep"): 18, ("l", 1, "deep", 0): 18, ("l", 1, "deep", 0, "z"): 19,
    }

"""docker-compose.yml and what it mounts: the roles, their settings, and what ClickHouse's users may do.

No Docker is needed: settings go through our own configuration, and the users through a real ClickHouse engine (chDB), which
reads the file as a server would and runs as each of its users. docs/deployment.md says what was tried with containers.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from streams.addresses import parse_address
from streams.clickhouse import ask
from streams.clickhouse.migrate import LEDGER, load_migrations
from streams.config import Config, load_config
from streams.embedded.up import ROLES
from tests.processes import REPOSITORY

USERS = REPOSITORY / "schemas/docker/clickhouse-users.xml"
VARIABLES = {"ORBITRACK_WRITER_PASSWORD": "for-the-writer", "ORBITRACK_ANALYST_PASSWORD": "for-the-analyst"}
OURS = [role for role in ROLES if role not in ("kafka", "database")]
VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def substitute(value: Any) -> Any:
    """The value with `${NAME}`, `${NAME:-default}` and `${NAME:?what is missing}` filled in, as docker compose does it."""
    if isinstance(value, dict):
        return {key: substitute(each) for key, each in value.items()}
    if isinstance(value, list):
        return [substitute(each) for each in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        assert match[1] in VARIABLES or match[2] == ":-", f"{match[0]} has no default"
        return VARIABLES.get(match[1]) or match[3]

    return VARIABLE.sub(fill, value)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    services: dict[str, Any] = substitute(compose["services"])
    named = {volume.split(":")[0] for each in services.values() for volume in each.get("volumes", [])}
    assert {name for name in named if not name.startswith(".")} == set(compose["volumes"])
    return services


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder config/ as the head of docker-compose.yml says to make it."""
    folder = tmp_path_factory.mktemp("config")
    shutil.copy(REPOSITORY / "schemas/docker/orbitrack.toml", folder)
    for each in ("xtce", "slo", "rules"):
        shutil.copytree(REPOSITORY / "schemas" / each, folder / each)
    return folder


@pytest.fixture(scope="module")
def configs(services: dict[str, Any], folder: Path) -> dict[str, Config]:
    """The configuration that each of our containers has. A key that does not exist raises here."""
    loaded = {}
    for name in OURS:
        environ = {key: str(value) for key, value in services[name]["environment"].items()}
        mounted = dict(volume.split(":")[:2] for volume in services[name]["volumes"])
        inside = Path(environ["ORBITRACK_CONFIG"])
        assert mounted["./config"] == str(inside.parent)
        loaded[name] = load_config(folder / inside.name, environ | image_environment())
    return loaded


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets."""
    line = next(line for line in (REPOSITORY / "Dockerfile").read_text().splitlines() if line.startswith("ENV "))
    return dict(word.split("=", 1) for word in line.split()[1:])


def test_every_role_of_up_is_a_service(services: dict[str, Any]) -> None:
    assert set(services) == {*OURS, "kafka", "clickhouse"}
    assert {services[name]["command"] for name in OURS} == set(OURS)
    assert all(services[name]["command"] == name for name in OURS)


def test_kafka_is_the_version_that_up_runs(services: dict[str, Any]) -> None:
    from streams.embedded.broker import KAFKA

    assert services["kafka"]["image"].split(":")[1] == KAFKA.split("+")[0].split(":")[2]


def test_the_image_is_built_once_and_foreign_ones_are_pinned(services: dict[str, Any]) -> None:
    assert [name for name in services if "build" in services[name]] == ["collect"]
    assert {services[name]["image"] for name in OURS} == {"orbitrack"}
    for name in ("kafka", "clickhouse"):
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?", services[name]["image"])


def test_every_service_says_whether_it_is_well(services: dict[str, Any], configs: dict[str, Config]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        assert {"test", "interval", "timeout", "retries", "start_period"} <= check.keys(), name
        if name in OURS:
            port = parse_address(configs[name].metrics.listen[name], schemes=("",)).port  # type: ignore[index]
            command, option, code = shlex.split(check["test"])  # a text runs in the container's shell
            assert (command, option) == ("python3", "-c")
            assert f"'127.0.0.1', {port}," in code
            compile(code, "healthcheck", "exec")


def test_roles_reach_kafka_and_clickhouse_by_the_names_of_their_services(
    services: dict[str, Any], configs: dict[str, Config]
) -> None:
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for config in configs.values():
        assert advertised == f"PLAINTEXT://{config.kafka.bootstrap}"
        assert config.database.dsn == "http://clickhouse:8123/orbitrack"
        assert config.kafka.replication == 1


def test_the_web_page_reads_as_the_analyst_and_the_others_write(configs: dict[str, Config]) -> None:
    for name, config in configs.items():
        user = "analyst" if name == "serve" else "writer"
        assert config.database.user == user
        assert config.database.password is not None
        assert config.database.password.reveal() == f"for-the-{user}"


def test_what_links_listen_on_is_published_and_nothing_else_leaves_the_machine(
    services: dict[str, Any], configs: dict[str, Config]
) -> None:
    published = {port for text in services["collect"]["ports"] for port in ports(text)}
    for link in configs["collect"].links:
        assert link.listen is not None
        address = parse_address(link.listen, schemes=("udp", "tcp"))
        assert address.host == "0.0.0.0", "a container is not reached on its loopback"
        assert (address.scheme, address.port) in published
    others = [text for name, each in services.items() if name != "collect" for text in each.get("ports", [])]
    assert others
    assert all(text.startswith("127.0.0.1:") for text in others)


def ports(text: str) -> list[tuple[str, int]]:
    """`7001-7009:7001-7009` -> ("tcp", 7001), ... Both sides are the same: the configuration names what is outside."""
    numbers, _, protocol = text.partition("/")
    outside, _, inside = numbers.partition(":")
    assert outside == inside
    first, _, last = outside.partition("-")
    return [(protocol or "tcp", port) for port in range(int(first), int(last or first) + 1)]


def test_alert_keeps_its_outbox_in_a_volume_and_is_alone(services: dict[str, Any], configs: dict[str, Config]) -> None:
    volumes = dict(volume.split(":")[:2] for volume in services["alert"]["volumes"])
    assert volumes["alert"] == str(configs["alert"].data_dir)
    assert all("alert" not in str(services[name]["volumes"]) for name in OURS if name != "alert")
    # A fixed name or a published port would make a second one impossible.
    assert not {"container_name", "ports"} & services["worker"].keys()
    assert not {"container_name", "ports"} & services["store"].keys()


def test_the_image_gets_everything_that_pyproject_packages_and_nothing_private() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.M) for word in line.split()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    sources = {source.split("/")[0] for each in project["tool"]["setuptools"]["ext-modules"] for source in each["sources"]}
    folders = {path.split("/")[0] for path in project["tool"]["setuptools"]["package-dir"].values()}
    assert copied == {"pyproject.toml", project["project"]["readme"], "LICENSE", "streams"} | sources | folders
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


def test_passwords_of_the_users_file_are_given_to_clickhouse(services: dict[str, Any]) -> None:
    users = ElementTree.parse(USERS).getroot().find("users")
    assert users is not None
    wanted = {password.get("from_env") for password in users.iter("password")}
    assert wanted == {name for name in services["clickhouse"]["environment"] if name.endswith("_PASSWORD")}
    assert all("password" in {child.tag for child in user} for user in users if user.get("remove") is None)


# What ClickHouse's own users.xml brings, as far as ours leans on it.
SHIPPED = """\
<clickhouse><profiles><default/></profiles>
<quotas><default><interval><duration>3600</duration><queries>0</queries></interval></default></quotas>
<users><default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users>
</clickhouse>"""
# The engine runs queries as `default`, so that is what the user is called for it. It prints one answer a statement.
RUN_AS = """\
import json, sys, chdb
connection = chdb.connect(sys.argv[1])
for statement in json.load(sys.stdin):
    try:
        answer = str(connection.query(statement, "TSV")).strip()
    except Exception as error:
        answer = str(error)
    print(json.dumps(answer))
"""

RunAs = Callable[[str, list[str]], list[str]]


@pytest.fixture(scope="module")
def run_as(tmp_path_factory: pytest.TempPathFactory) -> RunAs:
    """`run_as(user, statements)`: the engine's answers or refusals, with the rights and limits that our file gives the user."""
    folder = tmp_path_factory.mktemp("clickhouse")
    (folder / "users.d").mkdir()
    (folder / "users.xml").write_text(SHIPPED)
    (folder / "config.xml").write_text(f"<clickhouse><users_config>{folder}/users.xml</users_config></clickhouse>")

    def run(user: str, statements: list[str]) -> list[str]:
        tree = ElementTree.parse(USERS)
        users = tree.getroot().find("users")
        assert users is not None
        (default,), (this,) = users.findall("default"), users.findall(user)
        users.remove(default)
        password = this.find("password")
        assert password is not None
        password.attrib.clear()
        this.tag = "default"
        this.set("replace", "replace")
        tree.write(folder / "users.d/orbitrack.xml")
        done = subprocess.run(
            [sys.executable, "-c", RUN_AS, f"{folder}/data?config-file={folder}/config.xml"],
            input=json.dumps(statements),
            env=VARIABLES,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_the_writer_may_make_the_tables_and_write_but_not_reach_files_or_users(run_as: RunAs) -> None:
    migrations = [statement for migration in load_migrations() for statement in migration.statements]
    allowed = [
        "CREATE DATABASE IF NOT EXISTS orbitrack",
        "USE orbitrack",
        LEDGER,
        *migrations,
        "ALTER TABLE samples MODIFY TTL stored + toIntervalSecond(100)",
        "INSERT INTO entities (entity) VALUES ('rack-1')",
        "SELECT name FROM system.tables WHERE database = 'orbitrack' AND name = 'entities'",
    ]
    refused = ["SELECT * FROM file('/etc/passwd', 'LineAsString')", "CREATE DATABASE other", "CREATE USER guest"]

    answers = run_as("writer", allowed + refused)

    assert [answer for answer in answers[: len(allowed)] if answer] == ["entities"]
    assert len(answers) == len(allowed) + len(refused)
    assert all("ACCESS_DENIED" in answer for answer in answers[len(allowed) :]), answers


def test_the_analyst_may_read_within_limits_and_nothing_else(run_as: RunAs) -> None:
    run_as(
        "writer",
        [
            "CREATE DATABASE IF NOT EXISTS orbitrack",
            "CREATE TABLE IF NOT EXISTS orbitrack.seen (n UInt8) ENGINE = ReplacingMergeTree ORDER BY n",
            "INSERT INTO orbitrack.seen VALUES (7)",
        ],
    )
    expected = {
        "SELECT n FROM orbitrack.seen": "7",
        "SELECT getSetting('max_result_rows')": "1000000",
        "SET max_execution_time = 50": "",
        # What `orbitrack sql` and the page shape answers with; the driver itself refuses what is marked read-only.
        f"SELECT name FROM system.settings WHERE name IN {tuple(ask.SETTINGS)} AND readonly": "",
        "INSERT INTO orbitrack.seen VALUES (8)": "ACCESS_DENIED",
        "DROP TABLE orbitrack.seen": "ACCESS_DENIED",
        "CREATE TEMPORARY TABLE t (n UInt8)": "ACCESS_DENIED",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')": "ACCESS_DENIED",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')": "ACCESS_DENIED",
        "SELECT * FROM remote('127.0.0.1', system.one)": "ACCESS_DENIED",
        "SELECT * FROM executable('id', 'TSV', 'a String')": "ACCESS_DENIED",
        "SELECT name FROM system.users": "ACCESS_DENIED",
        "SYSTEM SHUTDOWN": "ACCESS_DENIED",
        "SET readonly = 0": "READONLY",
        **dict.fromkeys(
            (
                "SET max_execution_time = 0",
                "SET max_execution_time = 61",
                "SET max_memory_usage = 0",
                "SET max_result_rows = 0",
                "SET max_memory_usage_for_user = 0",
            ),
            "SETTING_CONSTRAINT_VIOLATION",
        ),
    }

    answers = dict(zip(expected, run_as("analyst", list(expected)), strict=True))

    for statement, answer in expected.items():
        assert answers[statement] == answer if not answer.isupper() else answer in answers[statement], statement

"""The file of further users, and what the gateway counts."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from streams.addresses import is_loopback
from streams.embedded.database import database_users
from streams.embedded.users import read_users
from streams.errors import ConfigError
from tests.databases import start_database
from tests.processes import end, free_port

USERS = """
[[user]]
name = "customer"
password_env = "CUSTOMER"
grants = ["GRANT SELECT ON shop.*"]
row_filters = { "shop.t" = "owner = 'customer'" }
caps = { max_result_rows = 5 }
"""


def test_file_of_users_is_read(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    file.write_text(USERS)

    (user,) = read_users(file, {"CUSTOMER": "hush"})

    assert (user.name, user.password, user.read_only) == ("customer", "hush", True)
    assert user.settings()["max_result_rows"] == "5"
    assert user.settings()["additional_table_filters"] == "{'shop.t': 'owner = \\'customer\\''}"


@pytest.mark.parametrize(
    ("before", "after", "line", "what", "hint"),
    [
        ("password_env", "pasword_env", 4, "unknown key 'pasword_env'", "did you mean 'password_env'?"),
        ('"customer"', '"writer"', 3, "there is a user 'writer' already", "choose another name"),
        ('"customer"', '"a b"', 3, "'a b' cannot be a user's name", "letters, digits and _"),
        ('"customer"', "7", 3, "'name' cannot be 7", "write a text"),
        ("= 5", '= "5"', 7, "cap 'max_result_rows' cannot be '5'", "write a whole number"),
        ('"CUSTOMER"', '"ABSENT"', 4, "$ABSENT is not set, and user 'customer' has no other password", "set it before"),
        ("[[user]]", "[[users]]", 2, "unknown section 'users'", "write [[user]]"),
        ("caps =", "read_only = false\ncaps =", 3, "user 'customer' has row filters but may write", "make it read-only"),
    ],
)
def test_mistakes_in_the_file_are_shown_with_their_line(
    tmp_path: Path, before: str, after: str, line: int, what: str, hint: str
) -> None:
    file = tmp_path / "users.toml"
    file.write_text(USERS.replace(before, after, 1))

    with pytest.raises(ConfigError) as caught:
        read_users(file, {"CUSTOMER": "hush"})

    assert str(caught.value).startswith(f"{file}:{line}: {what}\n")
    assert hint in str(caught.value)
    assert "hush" not in str(caught.value)


def test_users_without_password_exist_on_loopback_only() -> None:
    assert [user.name for user in database_users()] == ["default", "writer", "analyst"]
    assert [user.name for user in database_users(analyst_password="x", is_loopback=False)] == ["analyst"]
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [True] * 3 + [
        False
    ] * 2


def test_row_policies_of_the_file_hold_and_everything_is_counted(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text(USERS)
    metrics_port = free_port()
    database = start_database(
        tmp_path / "data",
        options=["--users", str(tmp_path / "users.toml"), "--metrics", f"127.0.0.1:{metrics_port}"],
        CUSTOMER="hush",
    )
    try:
        customer = {"X-ClickHouse-User": "customer", "X-ClickHouse-Key": "hush"}
        for query in (
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (owner String, a Int8) ENGINE = MergeTree ORDER BY a",
            "INSERT INTO shop.t VALUES ('customer', 1), ('other', 2)",
            "CREATE VIEW shop.v AS SELECT * FROM shop.t",
            "CREATE TABLE secret (a Int8) ENGINE = MergeTree ORDER BY a",
        ):
            database.value(query)
        assert database.value("SELECT sum(a) FROM shop.t") == "3"
        assert database.ask("SELECT sum(a) FROM shop.t AS x", user=None, headers=customer).text == "1\n"
        assert database.ask("SELECT sum(a) FROM shop.v", user=None, headers=customer).text == "1\n"
        for query in (
            "SELECT count() FROM shop.t",
            "SELECT max(a) FROM shop.t",
            "SELECT a FROM shop.t ORDER BY a DESC LIMIT 1",
        ):
            assert database.ask(query, user=None, headers=customer).text == "1\n"
        for query in ("SELECT a FROM loop(shop.t) LIMIT 3", "SELECT a FROM merge('shop', 't')"):
            assert database.ask(query, user=None, headers=customer).code == 497
        assert (
            database.ask("SELECT 2 IN (SELECT a FROM shop.t), ('other', 2) IN shop.v", user=None, headers=customer).text
            == "0\t0\n"
        )
        assert database.ask("SELECT * FROM default.secret", user=None, headers=customer).code == 497
        assert database.ask("SELECT number FROM numbers(10)", user=None, headers=customer).code == 396
        assert database.ask("SELECT 1", user=None).code == 516

        metrics = urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics").read().decode()
        counted = dict(re.findall(r"^(orbitrack_gateway\S+_total\S*|orbitrack_gateway_running) (\S+)$", metrics, re.MULTILINE))
        assert counted['orbitrack_gateway_statements_total{code="0",user="writer"}'] == "6.0"
        assert counted['orbitrack_gateway_statements_total{code="497",user="customer"}'] == "3.0"
        assert counted["orbitrack_gateway_logins_refused_total"] == "1.0"
        assert counted["orbitrack_gateway_running"] == "0.0"
    finally:
        end(database.process)


def test_errors_tell_nothing_of_filtered_rows(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text(USERS)
    database = start_database(tmp_path / "data", options=["--users", str(tmp_path / "users.toml")], CUSTOMER="hush")
    customer = {"X-ClickHouse-User": "customer", "X-ClickHouse-Key": "hush"}
    # The owner is a wide column: the engine would rather read and compare the narrow ones first.
    owner = "concat(if(number % 2 = 0, 'customer', 'other'), repeat(' ', 300))"
    try:
        database.value("CREATE DATABASE shop")
        database.value("CREATE TABLE shop.t (owner String, a UInt32, secret String) ENGINE = MergeTree ORDER BY a")
        database.value(f"INSERT INTO shop.t SELECT {owner}, number, concat('secret', number) FROM numbers(100000)")
        database.value("ALTER TABLE shop.t UPDATE owner = trimRight(owner) WHERE 1 SETTINGS mutations_sync = 1")
        for condition in ("a = 1 AND toUInt8(secret) = 1", "throwIf(a = 1)", "a = 1 AND throwIf(secret = 'secret1')"):
            reply = database.ask(f"SELECT count() FROM shop.t WHERE {condition}", user=None, headers=customer)
            assert (reply.status, reply.text) == (200, "0\n")
        reply = database.ask("SELECT count() FROM shop.t PREWHERE toUInt8(secret)", user=None, headers=customer)
        assert reply.code == 497
        assert "use WHERE" in reply.text
    finally:
        end(database.process)

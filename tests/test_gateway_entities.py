"""Row policies, roles and users that are made in SQL, and the port that only says where to go."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.errors import ConfigError
from streams.gateway.access import User
from streams.gateway.access_changes import Names, change_of
from streams.gateway.access_reader import Reader
from streams.gateway.access_sql import Administration, is_access_statement
from streams.gateway.entities import Entities, Grantees, Policy, State, row_filters
from streams.gateway.errors import GatewayError
from streams.gateway.rewrites import with_own_name
from streams.gateway.sql import names
from tests.databases import Database, Reply, start_database
from tests.processes import end, free_port

WRITER = User("writer")
ANALYST = User("analyst", "night", read_only=True)
GUEST = {"X-ClickHouse-User": "guest", "X-ClickHouse-Key": "it's"}


@pytest.fixture
def entities(tmp_path: Path) -> Entities:
    return Entities(tmp_path / "access.json", [WRITER, ANALYST])


def run(entities: Entities, *statements: str) -> None:
    for statement in statements:
        entities.change(change_of(Reader(statement.encode()), Names(entities, WRITER, "d")))


def policy(condition: str, *names: str, is_restrictive: bool = False, table: str = "t") -> Policy:
    return Policy(condition, "d", table, condition, Grantees(names), is_restrictive)


def test_rows_need_one_permissive_policy_and_all_restrictive_ones() -> None:
    policies = [policy("a", "u"), policy("b", "r"), policy("c", "u", is_restrictive=True), policy("x", "other")]

    assert row_filters(policies, frozenset({"u", "r"})) == {"d.t": "((a) OR (b)) AND (c)"}
    assert row_filters(policies, frozenset({"u"})) == {"d.t": "((a)) AND (c)"}
    assert row_filters([policy("c", "u", is_restrictive=True)], frozenset({"u"})) == {"d.t": "(c)"}
    assert row_filters(policies, frozenset({"nobody"})) == {}


def test_all_except_holds_for_everybody_else() -> None:
    grantees = Grantees(is_all=True, excepted=("r",))

    assert grantees.include(frozenset({"u"}))
    assert not grantees.include(frozenset({"u", "r"}))


def test_changes_survive_a_restart_and_are_readable_by_their_owner_only(entities: Entities) -> None:
    run(
        entities,
        "CREATE ROLE r, s",
        "CREATE USER guest IDENTIFIED BY 'hush' DEFAULT ROLE r",
        "CREATE ROW POLICY p ON t AS RESTRICTIVE FOR SELECT USING to = 1 TO guest, s",
        "GRANT s TO guest, analyst",
        "GRANT SELECT ON *.* TO r",
    )
    again = Entities(entities.file, [WRITER, ANALYST])
    again.load()

    assert again.state == entities.state
    assert "hush" not in entities.file.read_text() + repr(entities.state)
    assert entities.file.stat().st_mode & 0o777 == 0o600
    guest = again.user("guest")
    assert guest is not None
    assert again.effective(guest).row_filters == {"d.t": "(to = 1)"}
    assert (again.effective(guest).roles, again.effective(guest, ["s"]).roles) == (("r",), ("s",))
    assert (again.effective(guest).role, again.effective(guest, ["s"]).role) == ("sql_reader", "sql_nobody")
    assert again.effective(ANALYST).row_filters == {"d.t": "(to = 1)"}
    assert again.effective(WRITER).row_filters == {}


def test_broken_file_does_not_open_the_database_without_policies(entities: Entities) -> None:
    entities.file.write_text('{"policies": {"p ON d.t": {}}}')

    with pytest.raises(ConfigError, match="cannot read the users, roles and row policies"):
        entities.load()


def test_statement_that_fails_halfway_changes_nothing(entities: Entities) -> None:
    run(entities, "CREATE ROLE r")
    for statement in ("CREATE ROLE s, r", "GRANT r TO analyst, nobody", "CREATE ROW POLICY p ON t USING 1 TO nobody"):
        with pytest.raises(GatewayError):
            run(entities, statement)

    assert entities.state == State(roles=frozenset({"r"}))


def test_who_comes_under_an_old_name_starts_from_nothing(entities: Entities) -> None:
    run(
        entities,
        "CREATE ROLE r",
        "CREATE USER guest IDENTIFIED BY 'a'",
        "GRANT r TO guest",
        "GRANT SELECT ON *.* TO guest",
        "CREATE ROW POLICY p ON t FOR SELECT USING 1 TO guest, r",
        "CREATE ROW POLICY q ON t FOR SELECT USING 0 TO ALL EXCEPT guest",
        "DROP USER guest",
        "DROP ROLE r",
        "CREATE ROLE r",
        "CREATE USER guest IDENTIFIED BY 'b'",
    )
    guest = entities.user("guest")

    assert guest is not None
    assert entities.effective(guest).roles == ()
    assert entities.effective(guest).role == "sql_nobody"
    assert entities.effective(guest).row_filters == {"d.t": "((0))"}


@pytest.mark.parametrize(
    ("clause", "condition", "names"),
    [
        ("USING a = to", "a = to", ()),
        ("USING to = 1 TO r", "to = 1", ("r",)),
        ("USING (a = 'x TO r') TO r", "(a = 'x TO r')", ("r",)),
        ("USING a IN (SELECT b FROM to) TO `to`, r", "a IN (SELECT b FROM to)", ("to", "r")),
        ("USING 1 TO CURRENT_USER", "1", ("writer",)),
        ("USING 1 TO NONE", "1", ()),
        ("USING 1", "1", ()),
    ],
)
def test_condition_of_a_policy_ends_where_its_names_begin(
    entities: Entities, clause: str, condition: str, names: tuple[str, ...]
) -> None:
    run(entities, "CREATE ROLE r, to", f"CREATE ROW POLICY p ON t FOR SELECT {clause}")

    made = entities.state.policies["p ON d.t"]
    assert (made.condition, made.grantees) == (condition, Grantees(names))


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("CREATE USER writer IDENTIFIED BY 'x'", 493),
        ("CREATE USER r IDENTIFIED BY 'x'", 493),
        ("CREATE USER x", 36),
        ("CREATE USER `x y` IDENTIFIED BY 'x'", 36),
        ("CREATE USER x IDENTIFIED BY 'a\\nb'", 36),
        ("CREATE USER x IDENTIFIED WITH no_password", 48),
        ("CREATE USER x IDENTIFIED BY ''", 48),
        ("CREATE USER x IDENTIFIED BY 'secret' HOST LOCAL", 48),
        ("CREATE USER x IDENTIFIED BY 'secret' SETTINGS readonly = 0", 48),
        ("ALTER USER analyst IDENTIFIED BY 'x'", 495),
        ("DROP USER analyst", 495),
        ("DROP USER x", 192),
        ("CREATE ROLE r", 493),
        ("CREATE ROLE analyst", 493),
        ("CREATE ROLE x SETTINGS max_threads = 1", 48),
        ("DROP ROLE x", 511),
        ("ALTER ROLE r RENAME TO x", 48),
        ("GRANT x TO analyst", 511),
        ("GRANT r TO x", 511),
        ("GRANT r TO r", 48),
        ("GRANT r TO analyst WITH ADMIN OPTION", 48),
        ("GRANT SELECT ON *.* TO analyst", 495),
        ("REVOKE ALL ON *.* FROM writer", 495),
        ("GRANT SELECT ON d.t TO r", 48),
        ("GRANT INSERT ON *.* TO r", 48),
        ("GRANT ALL ON *.* TO r", 48),
        ("GRANT SELECT, INSERT ON *.* TO r", 48),
        ("GRANT SELECT ON *.* TO r WITH GRANT OPTION", 48),
        ("GRANT ON CLUSTER c r TO r", 48),
        ("SET DEFAULT ROLE r TO analyst", 512),
        ("SET DEFAULT ROLE x TO analyst", 511),
        ("CREATE ROW POLICY p, q ON t USING 1", 48),
        ("CREATE ROW POLICY p ON t ON CLUSTER c USING 1", 48),
        ("CREATE ROW POLICY p ON d.* USING 1", 48),
        ("ALTER ROW POLICY p ON t USING 1", 523),
        ("DROP ROW POLICY p ON t", 523),
        ("CREATE SETTINGS PROFILE x", 48),
    ],
)
def test_what_is_not_offered_or_wrong_is_refused_as_a_server_would(entities: Entities, statement: str, code: int) -> None:
    run(entities, "CREATE ROLE r")
    with pytest.raises(GatewayError) as caught:
        run(entities, statement)

    assert caught.value.code == code, caught.value.text
    assert "secret" not in caught.value.text
    assert entities.state == State(roles=frozenset({"r"}))


def test_read_only_users_see_their_own_grants_only_and_change_nothing(entities: Entities) -> None:
    run(entities, "CREATE ROLE r", "GRANT r TO analyst")
    administration = Administration(entities)

    assert b"GRANT r TO analyst" in (administration.run("SHOW GRANTS", ANALYST, "d") or b"")
    for statement in ("SHOW GRANTS FOR writer", "SHOW USERS", "SHOW ROLES", "SHOW ROW POLICIES", "CREATE ROLE x"):
        with pytest.raises(GatewayError, match="Not enough privileges"):
            administration.run(statement, ANALYST, "d")


def test_access_statements_are_known_by_their_first_words() -> None:
    for text in ("create /* x */ user a", "GRANT a TO b", "SET DEFAULT ROLE ALL TO a", "SHOW POLICIES", "show current roles"):
        assert is_access_statement(text.encode()), text
    for text in ("SHOW TABLES", "SHOW SETTINGS LIKE 'a'", "SET role = 1", "SELECT 1", "CREATE TABLE user (a Int8)", "SHOW", ""):
        assert not is_access_statement(text.encode()), text


def test_own_name_is_put_where_it_is_asked_for() -> None:
    user = User("a", read_only=True, engine_role="sql_nobody", roles=("r",))

    assert with_own_name(b"SELECT currentUser ( ), 'user()', t.user() -- user()", user) == (
        b"SELECT ('a' AS `currentUser()`), 'user()', t.user() -- user()"
    )
    assert with_own_name(b"owner = USER()", user, has_aliases=False) == b"owner = ('a')"
    assert with_own_name(b"SELECT user, currentUsers()", user) == b"SELECT user, currentUsers()"
    assert b"CAST(['r'], 'Array(String)')" in with_own_name(b"SELECT currentRoles()", user)


# Against a real gateway


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = start_database(tmp_path_factory.mktemp("entities") / "data")
    for statement in (
        "CREATE DATABASE shop",
        "CREATE TABLE shop.t (owner String, a Int8) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO shop.t VALUES ('guest', 1), ('analyst', 2), ('other', 4)",
        "CREATE VIEW shop.v AS SELECT * FROM shop.t",
    ):
        database.value(statement)
    yield database
    end(database.process)


@pytest.fixture
def guest(database: Database) -> Iterator[Database]:
    for statement in ("CREATE ROLE r, s", "CREATE USER guest IDENTIFIED BY 'it\\'s'", "GRANT r TO guest"):
        database.value(statement)
    yield database
    for statement in ("DROP USER guest", "DROP ROLE r, s", "DROP ROW POLICY IF EXISTS p ON shop.t"):
        database.value(statement)


def ask(running: Database, query: str, **parameters: object) -> Reply:
    return running.ask(query, user=None, headers=GUEST, **parameters)  # type: ignore[arg-type]


def test_policy_holds_at_once_for_those_it_names_and_not_for_writers(guest: Database) -> None:
    guest.value("GRANT SELECT ON *.* TO guest")
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "7\n"

    guest.value("CREATE ROW POLICY p ON shop.t USING owner = currentUser() TO ALL")
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "1\n"
    assert ask(guest, "SELECT sum(a) FROM shop.v").text == "1\n"
    assert guest.value("SELECT sum(a) FROM shop.t", user="analyst") == "2"
    assert guest.value("SELECT sum(a) FROM t", user="analyst", database="shop") == "2"
    assert guest.value("SELECT sum(a) FROM shop.t") == "7"
    assert guest.value("SHOW ROW POLICIES ON t", database="shop") == "p"
    assert guest.value("SHOW POLICIES FORMAT JSONEachRow") == '{"name":"p ON shop.t"}'
    shown = guest.value("SHOW CREATE ROW POLICY p ON shop.t FORMAT TSVRaw")
    assert shown == "CREATE ROW POLICY p ON shop.t AS PERMISSIVE FOR SELECT USING owner = currentUser() TO ALL"

    guest.value("ALTER ROW POLICY p ON shop.t USING a > 1 TO guest")
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "6\n"
    assert guest.value("SELECT sum(a) FROM shop.t", user="analyst") == "7"
    guest.value("ALTER ROW POLICY p ON shop.t USING owner IN ('guest', 'it\\'s', '\\\\', 'x\ny') OR match(owner, '^o\\\\w+')")
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "5\n"
    guest.value("DROP ROW POLICY p ON shop.t")
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "7\n"


def test_user_of_sql_reads_what_it_was_granted_and_nothing_else(guest: Database) -> None:
    assert ask(guest, "SELECT sum(a) FROM shop.t").code == 497
    assert ask(guest, "SELECT number FROM system.numbers LIMIT 1").text == "0\n"
    assert ask(guest, "SELECT currentDatabase()", database="shop").text == "shop\n"
    assert ask(guest, "SELECT sum(a) FROM t", database="shop").code == 497
    guest.value("GRANT SELECT ON *.* TO r")
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "7\n"
    guest.value("CREATE ROW POLICY p ON shop.t USING a = 4 TO r")
    for query in (
        "INSERT INTO shop.t VALUES ('x', 1)",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM url('http://127.0.0.1:9/', 'CSV')",
        "CREATE ROW POLICY p ON shop.t USING 1 TO guest",
        "GRANT SELECT ON *.* TO guest",
        "SET ROLE gateway_writer",
        "SELECT * FROM shop.t SETTINGS additional_table_filters = {}",
        "SELECT * FROM shop.t PREWHERE a",
        "SHOW USERS",
        "SELECT * FROM system.processes",
    ):
        assert ask(guest, query).code in (164, 497), query
    assert ask(guest, "SELECT 1", additional_table_filters="{}").code == 164
    assert ask(guest, "SELECT 1", max_memory_usage="3000000000").code == 164
    assert ask(guest, "SELECT sum(a) FROM shop.t").text == "4\n"
    guest.value("REVOKE SELECT ON *.* FROM r")
    assert ask(guest, "SELECT sum(a) FROM shop.t").code == 497


def test_roles_are_chosen_among_those_that_were_granted(guest: Database) -> None:
    assert ask(guest, "SELECT currentUser(), currentRoles()").text == "guest\t['r']\n"
    guest.value("GRANT s TO guest")
    guest.value("SET DEFAULT ROLE NONE TO guest")
    assert ask(guest, "SELECT currentRoles() FORMAT TSVWithNames").text == "currentRoles()\n[]\n"
    assert ask(guest, "SHOW CURRENT ROLES", role="s").text == "s\n"
    assert ask(guest, "SHOW GRANTS").text == "GRANT r TO guest\nGRANT s TO guest\n"
    assert ask(guest, "SELECT 1", role="gateway_writer").code == 512
    assert ask(guest, "SELECT 1", role="nobody").code == 512
    guest.value("REVOKE s FROM guest")
    assert ask(guest, "SELECT 1", role="s").code == 512
    assert guest.value("SELECT user(), currentRoles()", user="analyst") == "analyst\t['gateway_analyst']"


def test_password_of_a_user_is_asked_for_and_not_logged(guest: Database) -> None:
    wrong = guest.ask("SELECT 1", user=None, headers=GUEST | {"X-ClickHouse-Key": "its"})
    assert wrong.code == 516
    guest.value("ALTER USER guest IDENTIFIED WITH sha256_password BY 'changed'")
    assert ask(guest, "SELECT 1").code == 516
    assert guest.ask("SELECT 1", user=None, headers=GUEST | {"X-ClickHouse-Key": "changed"}).text == "1\n"
    guest.value("SYSTEM FLUSH LOGS")
    logged = "SELECT count() FROM system.query_log_engine WHERE query LIKE '%IDENTIFIED%' AND query NOT LIKE '%_log%'"
    assert guest.value(logged) == "0"


def test_access_statement_that_is_no_text_is_refused(database: Database) -> None:
    assert database.ask(b"CREATE USER x IDENTIFIED BY '\xff'").code == 36
    assert database.ask(b"CREATE ROLE a\0b").code in (36, 48, 62)
    assert "a" not in database.value("SHOW ROLES").split()


def test_random_access_statements_are_answered_with_errors_of_their_own(database: Database) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    words = sorted(
        names("CREATE ALTER DROP USER ROLE ROW POLICY GRANT REVOKE SET DEFAULT SHOW GRANTS IF NOT EXISTS ON TO FROM")
    )
    words += sorted(
        names("USING ALL EXCEPT NONE AS RESTRICTIVE RENAME IDENTIFIED BY 'x' a b shop.t *.* , ( ) = 1 SELECT FOR `")
    )

    for _ in range(300):
        query = " ".join(generator.choices(words, k=generator.randrange(1, 10)))
        for user in ("writer", "analyst"):
            reply = database.ask(query, user=user)
            assert reply.code not in (1001, 1002), f"{query}: {reply.text}"
    assert database.value("SELECT 1") == "1"


def test_users_and_policies_of_sql_are_there_after_a_restart(tmp_path: Path) -> None:
    database = start_database(tmp_path / "data")
    try:
        for statement in (
            "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE USER guest IDENTIFIED BY 'it\\'s'",
            "GRANT SELECT ON *.* TO guest",
            "CREATE ROW POLICY p ON t USING a = 2 TO guest",
        ):
            database.value(statement)
        database.process.kill()
        database.process.wait()
        database = start_database(tmp_path / "data")
        assert ask(database, "SELECT a FROM t").text == "2\n"
    finally:
        end(database.process)


def test_row_filter_needs_its_database() -> None:
    with pytest.raises(ConfigError, match="of no database"):
        User("customer", read_only=True, row_filters={"t": "1"})


def test_native_port_says_where_to_go(tmp_path: Path) -> None:
    port = free_port()
    database = start_database(tmp_path / "data", options=["--native-port", str(port)])
    try:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("POST", "/", b"SELECT 1")
        response = client.getresponse()
        assert response.status == 400
        expected = f"Port {port} is for clickhouse-client program\r\nYou must use port {database.port} for HTTP.\r\n"
        assert response.read().decode() == expected
        with socket.create_connection(("127.0.0.1", port), timeout=10) as native:
            native.sendall(b"\x00\x11ClickHouse client")
            answer = b"".join(iter(lambda: native.recv(4096), b""))
        assert answer.startswith(b"\x02\x30\x00\x00\x00\x0dDB::Exception")
        assert f"HTTP only, on port {database.port}".encode() in answer
    finally:
        end(database.process)

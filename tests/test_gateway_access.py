"""What a read-only user cannot do, and what nobody can do without a password."""

from __future__ import annotations

import base64
import random
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace

import pytest

from streams.errors import ConfigError
from streams.gateway.access import Access, User, check_ast, check_read_settings, users_xml
from streams.gateway.errors import GatewayError
from streams.gateway.request import is_from_a_foreign_page
from tests.databases import ANALYST_PASSWORD, Database

REFUSED = (164, 497)  # READONLY, ACCESS_DENIED

READS_OUTSIDE = [
    "SELECT file('/etc/hostname')",
    "SELECT FILE('/etc/hostname')",
    "SELECT `file`('/etc/hostname')",
    "SELECT /* x */ file /* y */ ('/etc/hostname')",
    "SELECT * APPLY(file) FROM (SELECT '/etc/hostname')",
    "SELECT * APPLY(x -> file(x)) FROM (SELECT '/etc/hostname')",
    "SELECT COLUMNS('a') APPLY `file` FROM (SELECT '/etc/hostname' AS a)",
    "SELECT arrayMap(x -> file(x), ['/etc/hostname'])",
    "SELECT arrayMap(file, ['/etc/hostname'])",
    "SELECT arrayMap((`file`) AS a, ['/etc/hostname'])",
    "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])",
    "SELECT arrayMap(\"fi\\x6ce\", ['/etc/hostname'])",
    "SELECT arrayMap(x -> arrayMap(file, x), [['/etc/hostname']])",
    "WITH file AS f SELECT arrayMap(f, ['/etc/hostname'])",
    "SELECT file('/etc/hostname') AS `a\nb`",
    "SELECT file('/etc/hostname') AS \"a\\nFunction upper\"",
    "SELECT file('/etc/hostname') AS `a (alias b) (children 1)`",
    "SELECT \"fi\\x6ce\"('/etc/hostname')",
    "SELECT * APPLY(\"fi\\x6ce\") FROM (SELECT '/etc/hostname')",
    "SELECT * APPLY(“file”) FROM (SELECT '/etc/hostname')",
    "SELECT * REPLACE(file(a) AS a) FROM (SELECT '/etc/hostname' AS a)",
    "SELECT number FROM numbers(1) ORDER BY number WITH FILL FROM length(file('/etc/hostname'))",
    "SELECT sum(1) OVER w FROM numbers(1) WINDOW w AS (ORDER BY file('/etc/hostname'))",
    "SELECT * FROM viewIfPermitted(SELECT file('/etc/hostname') AS a ELSE null('a String'))",
    "SELECT * FROM viewExplain('EXPLAIN', 'actions = 1', (SELECT file('/etc/hostname')))",
    "SELECT 1 LIMIT length(file('/etc/hostname'))",
    "SELECT 1 ORDER BY file('/etc/hostname')",
    "SELECT sum(1) OVER (ORDER BY file('/etc/hostname'))",
    "WITH file('/etc/hostname') AS x SELECT x",
    "EXPLAIN SELECT file('/etc/hostname')",
    "EXPLAIN SYNTAX SELECT file('/etc/hostname')",
    "DESCRIBE (SELECT file('/etc/hostname') AS a)",
    "SELECT * FROM (EXPLAIN SELECT file('/etc/hostname'))",
    "SELECT * FROM view(SELECT file('/etc/hostname'))",
    "FROM file('/etc/hostname', 'LineAsString') SELECT *",
    "DESCRIBE TABLE file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM fileCluster('default', '/etc/hostname', 'LineAsString')",
    "SELECT * FROM `/etc/hostname`",
    'SELECT * FROM "/etc/hostname"',
    "SELECT * FROM default.`/etc/hostname`",
    "SELECT * FROM {t:Identifier}",
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM s3('http://127.0.0.1:9/x', 'CSV')",
    "SELECT * FROM mysql('127.0.0.1:9', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:9', 'd', 't', 'u', 'p')",
    "SELECT * FROM sqlite('/etc/hostname', 't')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM Python(users)",
    "SELECT * FROM Python('sys')",
    "SELECT addressToLine(1)",
    "SELECT aiGenerate('x', 'y')",
    "SELECT * FROM eval('SELECT file(''/etc/hostname'')')",
    "SELECT * FROM eval(SELECT 'SELECT 1')",
    "SELECT 1 IN eval('SELECT 1')",
    "SELECT * FROM filesystem('/etc')",
    "SELECT * FROM arrowstream(x)",
    "SELECT * FROM mergeTreeIndex('system', 'query_log_engine')",
    "SELECT 1 INTO OUTFILE '/tmp/out'",
    "(SELECT 1 INTO OUTFILE '/tmp/out')",
    "SELECT 1 INTO /**/ outfile '/tmp/out' AND STDOUT",
    "SELECT ‘'’ INTO OUTFILE '/tmp/out' -- '",
    "SHOW TABLES INTO OUTFILE '/tmp/out'",
]
CHANGES = [
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION f AS x -> x",
    "INSERT INTO t VALUES (1)",
    "INSERT INTO FUNCTION file('/tmp/out', 'CSV', 'a Int8') VALUES (1)",
    "INSERT INTO FUNCTION file('/tmp/out', 'CSV', 'a Int8') SELECT 1",
    "DROP DATABASE default",
    "ALTER TABLE t DELETE WHERE 1",
    "OPTIMIZE TABLE t",
    "TRUNCATE TABLE t",
    "BACKUP DATABASE default TO File('/tmp/out')",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "SET ROLE gateway_writer",
    "SET ROLE ALL",
    "SET readonly = 0",
    "SET max_execution_time = 0",
    "USE system",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 SETTINGS max_threads = 64",
    "SELECT 1; DROP DATABASE default",
    "SELECT 1 PARALLEL WITH DROP DATABASE default",
    "EXECUTE AS default SELECT 1",
    "ATTACH TABLE t (a Int8) ENGINE = File(CSV)",
    "CREATE NAMED COLLECTION c AS a = 1",
]
TELLS_OF_OTHERS = [
    "SELECT * FROM system.query_log",
    "SELECT * FROM `system`.`processes` AS p",
    "SELECT 1 IN system.processes",
    "SELECT * FROM loop(system.processes)",
    "SELECT * FROM merge('system', 'query_log')",
    "WITH q AS (SELECT * FROM system.query_log_engine) SELECT * FROM q",
    "SHOW PROCESSLIST",
    "SELECT last_error_message FROM system.errors",
    "SELECT * FROM system.asynchronous_metric_log",
]


@pytest.mark.parametrize("query", READS_OUTSIDE + CHANGES + TELLS_OF_OTHERS)
def test_analyst_is_refused(gateway: Database, query: str) -> None:
    reply = gateway.ask(query, user="analyst", param_t="/etc/hostname", param_f="file")

    assert reply.code in (*REFUSED, 62, 358), reply.text
    assert reply.code != 62 or query.startswith(("SELECT 1; DROP", "SELECT 1 PARALLEL", "SET"))


# Places where an expression may stand; each gives back the text that stands there.
PLACES = [
    "arrayMap(x -> {}, [1])[1]", "(SELECT {})", "if(1, {}, '')", "tuple({}).1", "CAST({} AS String)", "({})::String",
    "[{}][1]", "map('a', {})['a']", "(WITH {} AS q SELECT q)", "CASE WHEN 1 THEN {} ELSE '' END", "coalesce({}, '')",
    "(SELECT a FROM (SELECT {} AS a))", "(SELECT * FROM view(SELECT {}))", "(SELECT c1 FROM values('c1 String', {}))",
    "(SELECT * APPLY(x -> concat(x, '')) FROM (SELECT {}))", "(SELECT * REPLACE({} AS a) FROM (SELECT 'a' AS a))",
    "(SELECT max(number = 0 ? {} : '') FROM numbers(2))", "arrayJoin([{}])", "(SELECT {} AS `a\nb`)", "/* file */ ({})",
    "(SELECT a FROM (SELECT {} AS a UNION ALL SELECT '' WHERE 0))", "ifNull(nullIf({}, ''), '')", "toString({})",
    "(SELECT x FROM (SELECT [{}] AS xs) ARRAY JOIN xs AS x)", "(SELECT any({}) OVER ())", "arrayMap(toString, [{}])[1]",
]  # fmt: skip


def test_long_statement_of_an_analyst_is_not_even_parsed(gateway: Database) -> None:
    deep = "SELECT " + "abs(" * 50_000 + "1" + ")" * 50_000

    assert gateway.ask(deep + " " * 20_000, user="analyst").code == 307
    assert gateway.ask(" " * 2_000_000 + "SELECT 1", user="analyst").code == 307
    assert gateway.value(" " * 200_000 + "SELECT 1", user="analyst") == "1"


def placed(expression: str, places: list[str]) -> str:
    for place in places:
        expression = place.replace("{}", expression)
    return f"SELECT {expression}"


@pytest.mark.parametrize("place", PLACES)
def test_guard_sees_a_function_in_every_place(gateway: Database, place: str) -> None:
    harmless = gateway.ask(placed("upper('x')", [place]), user="analyst")

    assert (harmless.status, harmless.text) == (200, "X\n"), harmless.text
    assert gateway.ask(placed("file('/etc/hostname')", [place]), user="analyst").code == 497


def test_guard_sees_a_function_however_deep(gateway: Database) -> None:
    seed = 4
    generator = random.Random(seed)
    for _ in range(100):
        query = placed("file('/etc/hostname')", generator.choices(PLACES, k=4))

        reply = gateway.ask(query, user="analyst")

        assert reply.code == 497, f"seed {seed}: {query}: {reply.text}"


@pytest.mark.parametrize("expression", ["file('/etc/hostname')", "concat('a', file('/etc/hostname'))", "upper('x')"])
def test_values_of_an_analyst_are_not_evaluated(gateway: Database, expression: str) -> None:
    text = expression.replace("'", "\\'")

    reply = gateway.ask(f"SELECT * FROM format(Values, 'a String', '({text})')", user="analyst")

    assert reply.code in (344, 497), reply.text


def test_analyst_is_refused_the_process_list_from_inside_its_database(gateway: Database) -> None:
    assert gateway.ask("SELECT * FROM processes", user="analyst", database="system").code == 497


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM numbers(1)",
        "SELECT 'file(''/etc/hostname'')' AS file",
        "SELECT * APPLY(sum) FROM numbers(2)",
        "WITH t AS (SELECT 1 AS a) SELECT * FROM t",
        "SELECT count() FROM system.tables",
        "SHOW TABLES",
        "EXISTS TABLE t",
        "DESCRIBE system.one",
        "SHOW CREATE TABLE system.one",
        "EXPLAIN SELECT 1",
        "SELECT * FROM values('a Int8', 1)",
        "SELECT * FROM generateRandom('a Int8') LIMIT 1",
        "SELECT toString(1) SETTINGS readonly = 1",
        "SELECT t.file FROM (SELECT 1 AS file) AS t",
        "SELECT arrayMap(upper, ['a'])",
    ],
)
def test_analyst_may_read(gateway: Database, query: str) -> None:
    assert gateway.ask(query, user="analyst").status == 200


def test_analyst_reads_what_writers_prepared(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a Int8, b String) ENGINE = MergeTree ORDER BY a")
    gateway.value(f"INSERT INTO {schema}.t VALUES (1, 'x')")
    source = f"SOURCE(CLICKHOUSE(DB '{schema}' TABLE 't'))"
    gateway.value(f"CREATE DICTIONARY {schema}.d (a UInt64, b String) PRIMARY KEY a {source} LAYOUT(FLAT()) LIFETIME(0)")
    gateway.value(f"CREATE VIEW {schema}.v AS SELECT count() AS n FROM {schema}.t")

    assert gateway.value(f"SELECT n, dictGet('{schema}.d', 'b', 1) FROM {schema}.v", user="analyst") == "1\tx"


@pytest.mark.parametrize(
    ("query", "code", "settings"),
    [
        ("SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", 159, {"max_execution_time": 1}),
        ("SELECT count() FROM (SELECT number FROM numbers(300000000) GROUP BY number)", 241, {"max_memory_usage": 10**8}),
        ("SELECT number FROM numbers(3000000)", 396, {}),
        ("SELECT number FROM numbers(3000000)", 396, {"result_overflow_mode": "throw", "max_result_rows": 10}),
    ],
)
def test_caps_end_a_query_of_an_analyst(gateway: Database, query: str, code: int, settings: dict[str, object]) -> None:
    reply = gateway.ask(query, user="analyst", wait_end_of_query=1, **settings)  # type: ignore[arg-type]

    assert reply.code == code, reply.text[:300]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_memory_usage", "2000000001"),
        ("max_memory_usage", "0"),
        ("max_execution_time", "0.5e9"),
        ("max_threads", "3"),
        ("max_threads", "²"),
        ("max_threads", "9" * 5000),
        ("readonly", "0"),
        ("additional_table_filters", "{}"),
        ("dialect", "kusto"),
        ("allow_introspection_functions", "1"),
        ("format_schema", "/etc/passwd"),
        ("output_format_schema", "/tmp/x"),
        ("input_format_record_errors_file_path", "/tmp/x"),
        ("input_format_values_interpret_expressions", "1"),
        ("use_query_cache", "1"),
        ("format_template_row", "/etc/passwd"),
    ],
)
def test_settings_that_would_lift_a_limit_are_refused(name: str, value: str) -> None:
    with pytest.raises(GatewayError, match=f"Cannot modify '{name}' setting in readonly mode"):
        check_read_settings(User("analyst", read_only=True), {name: value})


def test_settings_of_the_answer_and_lower_caps_are_allowed() -> None:
    settings = {"max_threads": "1", "max_rows_to_read": "10", "output_format_json_quote_64bit_integers": "1"}

    check_read_settings(User("analyst", read_only=True), settings | {"session_timezone": "Asia/Tokyo", "extremes": "1"})


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, ""),
        ({}, "&user=analyst&password=wrong"),
        ({"X-ClickHouse-User": "analyst"}, ""),
        ({"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": ANALYST_PASSWORD}, ""),
        ({"Authorization": "Basic !!!"}, ""),
        ({"Authorization": "Bearer token"}, ""),
        ({"Authorization": "Basic YW5hbHlzdDp3cm9uZw=="}, ""),
    ],
)
def test_nobody_gets_in_without_password(gateway: Database, headers: dict[str, str], url: str) -> None:
    request = urllib.request.Request(f"{gateway.url}?query=SELECT+1{url}", headers=headers)

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        assert (answer.code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert ANALYST_PASSWORD not in answer.read().decode()


def test_password_may_come_in_each_of_three_ways(gateway: Database) -> None:
    url = f"{gateway.url}?query=SELECT+1&user=analyst&password={urllib.parse.quote(ANALYST_PASSWORD)}"
    basic = base64.b64encode(f"analyst:{ANALYST_PASSWORD}".encode()).decode()

    assert urllib.request.urlopen(url).read() == b"1\n"
    assert gateway.value("SELECT 1", user="analyst") == "1"
    assert gateway.ask("SELECT 1", user=None, headers={"Authorization": f"Basic {basic}"}).text == "1\n"


@pytest.mark.parametrize(
    ("host", "origin", "foreign"),
    [
        ("127.0.0.1:8123", None, False),
        ("localhost:8123", None, False),
        ("[::1]:8123", None, False),
        ("127.0.0.1", None, False),
        ("127.0.0.1:8123", "http://127.0.0.1:8123", False),
        ("127.0.0.1:8123", "http://evil.example", True),
        ("127.0.0.1:8123", "null", True),
        ("evil.example:8123", "http://evil.example:8123", True),
        ("evil.example", None, True),
    ],
)
def test_web_pages_of_others_are_told_from_programs(host: str, origin: str | None, foreign: bool) -> None:
    http = SimpleNamespace(host=host, headers={"Origin": origin} if origin else {})

    assert is_from_a_foreign_page(http) == foreign  # type: ignore[arg-type]


def test_passwords_are_never_shown() -> None:
    user = User("analyst", "hush", read_only=True)

    assert "hush" not in repr(user) + str(user) + users_xml([user])


def test_unknown_name_and_wrong_password_look_the_same() -> None:
    access = Access([User("analyst", "right")])

    texts = []
    for name, password in (("analyst", "wrong"), ("nobody", ""), ("analyst", "\udcff")):
        with pytest.raises(GatewayError) as caught:
            access.authenticate(name, password)
        texts.append(caught.value.text.replace(name, "NAME"))
    assert len(set(texts)) == 1
    assert access.authenticate("analyst", "right").name == "analyst"


def test_roles_are_only_ones_own(gateway: Database) -> None:
    assert gateway.ask("SELECT 1", user="analyst", role="gateway_writer").code == 512
    assert gateway.value("SELECT currentRoles()", user="analyst", role="gateway_analyst") == "['gateway_analyst']"


def test_tree_of_a_harmless_statement_passes() -> None:
    tree = "SelectQuery (children 1)\n Identifier a\n Function plus (alias file) (children 1)\n"

    check_ast(b"SELECT a", tree, None, frozenset({"file", "new_one"}))
    with pytest.raises(GatewayError, match="function new_one is not allowed"):
        check_ast(b"SELECT a", " Function new_one (children 1)", None, frozenset({"file", "new_one"}))


@pytest.mark.parametrize(
    "name",
    ["file", "file (alias a)", "file (children 1)", "file (alias a) (children 1)", "file (alias a\nFunction b) (children 1)"],
)
def test_function_is_found_whatever_its_alias(name: str) -> None:
    with pytest.raises(GatewayError, match="function file is not allowed"):
        check_ast(b"", f"SelectQuery\n Function {name}", None, frozenset())


def test_user_with_row_filter_must_not_write() -> None:
    with pytest.raises(ConfigError, match="has row filters but may write"):
        User("customer", row_filters={"t": "1"})
    with pytest.raises(ConfigError, match="cannot be a user's name"):
        User("a</role>")

"""`orbitrack sql` against the embedded database: formats, limits, named queries, statuses."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from streams.cli import main
from streams.cli.interactive import WORDS, Words
from streams.cli.sql import converse
from streams.cli.sqljson import json_array, with_named_floats
from streams.cli.tables import cell
from streams.clickhouse.ask import ask_rows, open_stream
from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clickhouse.parameters import TYPES, WRITTEN
from streams.clickhouse.progress import QueryProgress
from streams.clickhouse.queries import catalogue, markdown
from streams.errors import OrbitrackError
from tests.processes import environment

REPOSITORY = Path(__file__).parents[1]
SQL = """
SELECT toDateTime('2026-10-01 12:00:00', 'UTC') AS time,
    toDateTime64('2026-10-01 12:00:00.123456789', 9, 'Europe/Stockholm') AS fine, 18446744073709551615 AS large, 0.5 AS half,
    NULL AS nothing, true AS yes, 'a,"b"' AS text, nan AS no_number, toDate('2026-10-02') AS day
"""


@pytest.fixture(scope="module")
def empty(database_server: str) -> str:
    """A database with tables and without rows, for all tests here that write nothing."""
    dsn = f"{database_server}/cli_sql"
    migrate(dsn)
    return dsn


@pytest.fixture
def sql(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, **options: CliRunner().invoke(main, ["sql", "--dsn", empty, *arguments], **options)


def test_json_keeps_numbers_numbers_and_times_utc(sql: Callable[..., Result]) -> None:
    for form, read in (("json", lambda text: json.loads(text)[0]), ("jsonl", json.loads)):
        result = sql(SQL, "--format", form)

        assert result.exit_code == 0, result.output
        assert read(result.stdout) == {
            "time": "2026-10-01T12:00:00Z", "fine": "2026-10-01T10:00:00.123456789Z", "large": 2**64 - 1, "half": 0.5,
            "nothing": None, "yes": True, "text": 'a,"b"', "no_number": "NaN", "day": "2026-10-02",
        }


def test_csv_has_a_header_and_empty_for_null(sql: Callable[..., Result]) -> None:
    rows = list(csv.reader(io.StringIO(sql(SQL, "--format", "csv").stdout)))

    assert rows[0][:3] == ["time", "fine", "large"]
    assert rows[1][:7] == ["2026-10-01T12:00:00Z", "2026-10-01T10:00:00.123456789Z", str(2**64 - 1), "0.5", "", "true", 'a,"b"']


def test_table_is_one_line_a_row_nothing_cut(sql: Callable[..., Result]) -> None:
    lines = sql("SELECT number AS n, repeat('x', 300) AS long FROM numbers(3)").stdout.splitlines()

    assert lines[0].split() == ["n", "long"]
    assert [line.split() for line in lines[1:]] == [[str(n), "x" * 300] for n in range(3)]


def test_arrow_and_parquet_are_files_that_pyarrow_reads(sql: Callable[..., Result], tmp_path: Path) -> None:
    question = "SELECT number AS n, toString(number) AS text FROM numbers(100000)"

    assert sql(question, "--format", "parquet", "-o", "out.parquet").exit_code == 0
    stream = sql(question, "--format", "arrow")

    table = pa.ipc.open_stream(stream.stdout_bytes).read_all()
    assert table.num_rows == 100_000
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").column("n").to_pylist() == table.column("n").to_pylist()


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_limit_caps_rows(sql: Callable[..., Result], form: str) -> None:
    result = sql("SELECT number FROM numbers(10) LIMIT 7", "--limit", "3", "--format", form)

    assert sum(digit in result.stdout for digit in "0123456789") == 3


def test_long_table_says_that_there_is_more(sql: Callable[..., Result]) -> None:
    result = sql("SELECT number FROM numbers(2000)")

    assert len(result.stdout.splitlines()) == 1001
    assert "1000 rows shown, there are more" in result.stderr


def test_answer_without_rows(sql: Callable[..., Result]) -> None:
    assert json.loads(sql("SELECT 1 AS a WHERE 0", "--format", "json").stdout) == []
    assert sql("SELECT 1 AS a WHERE 0").stdout == "a\n"
    assert sql("SELECT 1 WHERE 0", "--format", "csv").stdout == '"1"\n'
    assert pa.ipc.open_stream(sql("SELECT 1 AS a WHERE 0", "--format", "arrow").stdout_bytes).read_all().column_names == ["a"]


def test_statement_without_answer(sql: Callable[..., Result]) -> None:
    result = sql("CREATE TABLE made_here (a Int8) ENGINE = Memory")

    assert (result.exit_code, result.stdout) == (0, "")


def test_statements_that_write_say_how_much(sql: Callable[..., Result]) -> None:
    sql("CREATE OR REPLACE TABLE written (a UInt32, b String) ENGINE = MergeTree ORDER BY a")

    for statement, data, rows in (
        ("INSERT INTO written VALUES (1, 'x'), (2, 'FORMAT CSV')", None, 2),
        ("INSERT INTO written (a) VALUES (3);", None, 1),
        ("INSERT INTO written FORMAT CSV", "4,y\n5,z\n", 2),
        ("-", "INSERT INTO written FORMAT CSV\n6,y\n", 1),
        ("INSERT INTO written SELECT number + 10, '' FROM numbers(3000)", None, 3000),
    ):
        result = sql(statement, input=data)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"rows written: {rows}\n")
    assert sql("SELECT count() FROM written", "--format", "csv").stdout == '"count()"\n3006\n'


def test_own_format_clause_wins(sql: Callable[..., Result]) -> None:
    for form in ("table", "json", "csv"):
        assert sql("SELECT 1 AS a, 'x' AS b FORMAT TSVWithNames", "--format", form).stdout == "a\tb\n1\tx\n"


def test_name_of_the_file_tells_the_format(sql: Callable[..., Result], tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.json", "a.CSV", "a.parquet", "a.arrow", "a.txt"):
        assert sql("SELECT 1 AS a", "-o", name).exit_code == 0

    assert (tmp_path / "a.jsonl").read_text() == '{"a":1}\n'
    assert (tmp_path / "a.json").read_text() == '[{"a":1}]\n'
    assert (tmp_path / "a.CSV").read_text() == '"a"\n1\n'
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist() == [{"a": 1}]
    assert pa.ipc.open_stream((tmp_path / "a.arrow").read_bytes()).read_all().to_pylist() == [{"a": 1}]
    assert (tmp_path / "a.txt").read_text() == "a\n1\n"


def test_numbers_that_are_none_have_names_and_texts_are_left_alone(sql: Callable[..., Result]) -> None:
    floats = "nan AS n, -inf AS i, [nan, 1.5] AS a, map('nan', inf) AS m, toNullable(nan) AS u"
    question = f"SELECT {floats}, 'nan' AS s, ['inf'] AS t, toDecimal128('0.1234567890123456789', 19) AS d, NULL AS e -- end"

    line = sql(question, "--format", "jsonl").stdout
    shown = sql(question).stdout.splitlines()[1]

    assert '"d":0.1234567890123456789,' in line
    assert json.loads(line) == {
        "n": "NaN", "i": "-Infinity", "a": ["NaN", 1.5], "m": {"nan": "Infinity"}, "u": "NaN", "s": "nan", "t": ["inf"],
        "d": pytest.approx(0.1234567890123), "e": None,
    }
    assert json.loads(sql(question, "--format", "json").stdout) == [json.loads(line)]
    assert shown.split()[:4] == ["nan", "-inf", '["NaN",', "1.5]"]


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_types_are_asked_for_once_and_only_when_needed(piece_bytes: int) -> None:
    asked = []

    def types() -> dict[str, str]:
        asked.append(1)
        return {"a": "Nullable(Float32)", "b": "String"}

    def answer(text: str) -> str:
        data = text.encode()
        cut = [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)]
        return b"".join(with_named_floats(cut, types)).decode()

    plain = '{"a":1.50,"b":"x"}\n' * 3
    assert (answer(plain), asked) == (plain, [])
    assert answer('{"a":"-nan","b":"nan"}\n{"a":1.50,"b":"\\"nan\\""}\n' * 2) == (
        '{"a":"NaN","b":"nan"}\n{"a":1.50,"b":"\\"nan\\""}\n' * 2
    )
    assert len(asked) == 1
    assert answer('{"a":"inf"}') == '{"a":"Infinity"}\n'
    assert answer('{"a":"inf","b":"\\u0000number:1,2"}') == '{"a":"Infinity","b":"\\u0000number:1,2"}\n'


def test_progress_of_a_running_query_is_seen_from_beside(empty: str) -> None:
    query = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"
    with connect(empty) as client, closing(QueryProgress(lambda: connect(empty), "seen-from-beside")) as progress:
        assert progress.look() == ""
        thread = threading.Thread(target=ask_until_killed, args=(empty, query, "seen-from-beside"))
        thread.start()
        try:
            seen = wait_for(progress.look)
        finally:
            client.command("KILL QUERY WHERE query_id = 'seen-from-beside' SYNC")
            thread.join()

    assert re.fullmatch(r"[\d,]+ of [\d,]+ rows read", seen)


def ask_until_killed(dsn: str, query: str, query_id: str) -> None:
    with connect(dsn) as client, contextlib.suppress(OrbitrackError):
        open_stream(client, query, settings={"query_id": query_id}, is_whole=True)


def wait_for(look: Callable[[], str]) -> str:
    deadline_s = time.monotonic() + 30
    while not (seen := look()):
        assert time.monotonic() < deadline_s, "nothing was seen"
    return seen


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 100])
def test_json_array_is_whole_however_its_lines_were_cut(pieces: int) -> None:
    rows = [{"n": n, "text": "x" * n} for n in range(20)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()

    cut = [text[start : start + pieces] for start in range(0, len(text), pieces)]

    assert json.loads(b"".join(json_array(cut))) == rows
    assert json.loads(b"".join(json_array([text]))) == rows


def test_sql_from_stdin(sql: Callable[..., Result]) -> None:
    for arguments in ((), ("-",)):
        assert sql(*arguments, "--format", "csv", input="SELECT 42 AS answer;\n").stdout == '"answer"\n42\n'


def test_parameters_of_plain_sql_are_bound_by_the_server(sql: Callable[..., Result]) -> None:
    result = sql("SELECT {text:String} AS t", "--param", "text=a'b\\c", "--format", "json")

    assert json.loads(result.stdout) == [{"t": "a'b\\c"}]


def test_named_query(database: str) -> None:
    with connect(database) as client:
        client.command(
            "INSERT INTO windows_1m (bucket, entity, metric, cnt, vmin) "
            "SELECT toDateTime('2026-10-01 00:00:00', 'UTC') + 60 * number, 'link-1', 'up', 6, number != 3 FROM numbers(10)"
        )

    span = ["--param", "from=2026-10-01", "--param", "to=2026-10-01T00:20:00Z"]
    result = CliRunner().invoke(main, ["sql", "--dsn", database, "--named", "availability", *span, "--format", "json"])

    assert json.loads(result.stdout) == [{
        "entity": "link-1", "service_minutes": 20, "up_minutes": 9, "down_minutes": 1, "unknown_minutes": 10,
        "maintenance_minutes": 0, "availability_strict_pct": 45, "availability_observed_pct": 90,
    }]


@pytest.mark.parametrize("name", catalogue())
def test_every_named_query_answers_an_empty_database(sql: Callable[..., Result], name: str) -> None:
    query = catalogue()[name]
    own = {"metric": "m", "objective": "0.9"}
    needed = {key: own.get(key, value.example) for key, value in query.parameters.items() if value.required}
    arguments = [part for key, value in needed.items() for part in ("--param", f"{key}={value}")]

    result = sql("--named", name, "--format", "json", *arguments)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == []


def test_list_names_every_query(sql: Callable[..., Result]) -> None:
    listed = json.loads(sql("--list", "--format", "json").stdout)

    assert [query["name"] for query in listed] == list(catalogue())
    assert {"name": "exclude", "type": "reasons", "default": "planned"}.items() <= listed[0]["parameters"][2].items()
    assert len(sql("--list").stdout.splitlines()) == 24


@pytest.mark.parametrize(("arguments", "message"), [
    (("SELEC 1",), "Syntax error"),
    (("SELECT nothing FROM windows_1m",), "Unknown expression identifier"),
    (("SELECT 1", "--named", "loss"), "give SQL or --named, not both"),
    (("--named", "los"), "there is no query 'los'\n  hint: did you mean 'loss'?"),
    (("--named", "loss", "--param", "from"), "--param from: is not K=V"),
    ((" ; ",), "the query is empty"),
    (("--list", "SELECT 1"), "--list stands alone"),
    (("SELECT 1", "-o", "/nowhere/x"), "/nowhere/x: cannot be written: No such file or directory"),
])
def test_wrong_usage_ends_with_2_in_few_lines(sql: Callable[..., Result], arguments: tuple[str, ...], message: str) -> None:
    result = sql(*arguments)

    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 8


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "arrow"])
def test_answer_that_breaks_off_says_why_and_leaves_no_file(sql: Callable[..., Result], form: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    late = "SELECT number, throwIf(number = 3000000) AS is_bad FROM numbers(10000000)"

    result = sql(late, "--format", form, "-o", "out")

    assert result.exit_code == 1, result.output
    assert "Code: 395. DB::Exception: Value passed to 'throwIf' function is non-zero" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "before"


def test_output_may_be_a_device(sql: Callable[..., Result]) -> None:
    assert sql("SELECT 1", "-o", "/dev/null").exit_code == 0
    assert not Path("/dev/null").is_file()


def test_table_that_breaks_off_shows_nothing(sql: Callable[..., Result]) -> None:
    result = sql("SELECT throwIf(number = 300000) FROM numbers(1000000)", "--limit", "1000000")

    assert (result.exit_code, result.stdout) == (2, "")


def test_refused_question_leaves_an_older_file_as_it_is(sql: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("before")

    for form in ("json", "csv", "table"):
        assert sql("SELEC 1", "--format", form, "-o", "kept.json").exit_code == 2

    assert (tmp_path / "kept.json").read_text() == "before"


def test_question_that_is_too_much_ends_with_1(sql: Callable[..., Result]) -> None:
    result = sql("SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_execution_time = 1, max_block_size = 1")

    assert result.exit_code == 1, result.output
    assert "the database gave up" in result.stderr


def test_database_that_is_away_ends_with_3() -> None:
    result = CliRunner().invoke(main, ["sql", "--dsn", "http://127.0.0.1:9/orbitrack", "SELECT 1"])

    assert result.exit_code == 3
    assert "127.0.0.1:9" in result.stderr


def test_docs_are_those_of_the_queries() -> None:
    current = (REPOSITORY / "docs" / "sla.md").read_text()

    assert current == markdown(), "run: python -m streams.clickhouse.queries > docs/sla.md"


def test_every_type_of_parameter_is_documented() -> None:
    assert WRITTEN.keys() == TYPES.keys()


def test_every_query_file_declares_what_it_answers() -> None:
    for query in catalogue().values():
        assert query.title.endswith("?")
        assert query.keys and query.columns
        assert not set(query.keys) & set(query.columns)


def test_every_parameter_of_a_query_has_an_effect() -> None:
    for query in catalogue().values():
        sql = query.expand(query.body, {"entity": "x", "by": "src_as"}, ("src_as",))
        for name, parameter in query.parameters.items():
            placeholder = {"tiers": "tier_credit", "month": "from", "by": "n"}.get(name, name)
            if name not in ("zone", "kind", "site", "customer"):
                assert f"{{{placeholder}:" in sql, f"{query.name}: {parameter.name} changes nothing"


# On a terminal


def type_at_the_prompt(dsn: str, keys: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> str:
    """What the prompt answers to these keystrokes, followed by Ctrl-D."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with create_pipe_input() as terminal, create_app_session(input=terminal, output=DummyOutput()), connect(dsn) as client:
        terminal.send_text(keys + "\x04")
        converse(client, None)
    return "".join(capsys.readouterr())


def test_prompt_answers_statements_of_several_lines(empty: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    said = type_at_the_prompt(empty, "SELECT 40\r + 2 AS answer;\r", tmp_path, monkeypatch, capsys)

    assert "answer\n    42\n" in said
    assert "+SELECT 40" in (tmp_path / "orbitrack" / "sql_history").read_text()


def test_prompt_goes_on_after_an_error(empty: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    keys = "SELEC;\r\\named los\r\\named loss from\r\\nonsense\r\\format json\rSELECT 7 AS seven;\r"

    said = type_at_the_prompt(empty, keys, tmp_path, monkeypatch, capsys)

    assert "Syntax error" in said
    assert "did you mean 'loss'?" in said
    assert "\\named NAME K=V" in said
    assert '[{"seven":7}]' in said


@pytest.mark.parametrize(("typed", "completed"), [
    ("\\na", ["\\named"]), ("\\format js", ["json", "jsonl"]), ("\\named mttr", ["mttr_mtbf"]),
    ("\\named loss rec", ["received="]), ("SELECT * FROM windows_1", ["windows_10s", "windows_1d", "windows_1h", "windows_1m"]),
    ("SELECT sk_q", ["sk_quantile"]), ("SELECT ", []),
])
def test_completion(empty: str, typed: str, completed: list[str]) -> None:
    with connect(empty) as client:
        words = Words(row[0] for row in ask_rows(client, WORDS)[1])

    assert [each.text for each in words.get_completions(Document(typed), CompleteEvent())] == completed


def test_terminal_shows_how_far_a_long_question_is(empty: str, tmp_path: Path) -> None:
    # The address comes from the configuration: who looks is another thread than who read it.
    question = "SELECT count() FROM numbers(60) WHERE sleepEachRow(0.1) = 0 SETTINGS max_block_size = 1"
    terminal, far_end = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "sql", question], stdout=subprocess.PIPE, stderr=far_end,
        stdin=subprocess.DEVNULL, cwd=tmp_path, env=environment(database__dsn=empty) | {"TERM": "xterm"},
    )
    os.close(far_end)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:     # EIO at the end
        while piece := screen.read(4096):
            shown += piece
    answer = run.communicate(timeout=60)[0]

    assert answer.split() == [b"count()", b"60"]
    assert re.search(rb"asking the database: \d+ of 60 rows read", shown), shown[-500:]


def test_cells_do_not_speak_to_the_terminal() -> None:
    assert cell("a\nb\x1b[2J\x9b\u00e4") == "a\\nb\\x1b[2J\\x9b\u00e4"

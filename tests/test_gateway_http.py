"""ClickHouse's HTTP interface as the gateway speaks it, asked with nothing but http.client and curl."""

from __future__ import annotations

import asyncio
import gzip
import random
import shutil
import socket
import subprocess
import threading
import time
import zlib
from pathlib import Path

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from aiohttp import web

from streams.gateway import server
from tests.databases import WRITER_PASSWORD, Database

ENDLESS = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)"
FAILS_LATE = "SELECT sleepEachRow(0.002), throwIf(number = 100) FROM numbers(200) SETTINGS max_block_size = 1"


def running_comments(gateway: Database) -> str:
    return gateway.value("SELECT groupArray(Settings['log_comment']) FROM system.processes")


def wait_until_running(gateway: Database, query_id: str, *, runs: bool = True) -> None:
    """Asks until the query runs, or does no more."""
    deadline_s = time.monotonic() + 20
    while (query_id in running_comments(gateway)) != runs:
        assert time.monotonic() < deadline_s, f"{query_id}: runs should be {runs}"


# Requests


def test_ping_needs_no_user(gateway: Database) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").read().endswith(b"\r\n\r\nOk.\n")


def test_curl_asks_in_url_and_body(gateway: Database) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl")
    key = ["-H", "X-ClickHouse-User: writer", "-H", f"X-ClickHouse-Key: {WRITER_PASSWORD}"]

    in_url = subprocess.check_output([curl, "-sS", *key, f"{gateway.url}?query=SELECT%201%2B1"])
    in_body = subprocess.check_output(
        [curl, "-sS", "-u", f"writer:{WRITER_PASSWORD}", "-d", "SELECT number FROM numbers(2) FORMAT CSV", gateway.url]
    )
    cut_off = subprocess.run([curl, "-sS", *key, "-d", FAILS_LATE, gateway.url], capture_output=True)

    assert (in_url, in_body) == (b"2\n", b"0\n1\n")
    assert cut_off.returncode == 18  # "transfer closed with outstanding read data remaining": no part passes for the whole
    assert b"FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in cut_off.stdout


def test_get_may_only_read(gateway: Database, schema: str) -> None:
    for query in (f"CREATE TABLE {schema}.t (a Int8) ENGINE = Memory", f"DROP DATABASE {schema}", "KILL QUERY WHERE 1"):
        assert gateway.ask(method="GET", query=query).code == 164
    assert gateway.ask(method="GET", query="SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("", 62, 400),
        ("-- nothing", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT * FROM absent", 60, 404),
        ("SELECT absent()", 46, 404),
        ("SELECT 1 FORMAT Absent", 73, 404),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 358, 400),
        ("INSERT INTO absent VALUES (1)", 60, 404),
        ("SELECT {x:Int8}", 456, 400),
    ],
)
def test_errors_have_code_name_and_status(gateway: Database, query: str, code: int, status: int) -> None:
    reply = gateway.ask(query)

    assert (reply.code, reply.status) == (code, status)
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
    assert reply.text.count("DB::Exception") == 1


def test_error_may_quote_bytes_that_are_no_text(gateway: Database) -> None:
    assert gateway.ask(b"SELECT 1 FROM t\xff\xfe 2").code == 62
    assert gateway.ask(b"SELECT length('\xff\xfe')").text == "2\n"


def test_unknown_database_and_setting_are_named(gateway: Database) -> None:
    assert gateway.ask("SELECT 1", database="absent").code == 81
    assert "max_block_siz" in gateway.ask("SELECT 1", max_block_siz=1).text


def test_one_semicolon_ends_a_statement(gateway: Database) -> None:
    assert gateway.value("SELECT 13; /* trailing; */ ;") == "13"


def test_answer_headers_tell_format_zone_and_work(gateway: Database) -> None:
    reply = gateway.ask("SELECT number FROM numbers(3) FORMAT JSON", query_id="headers", session_timezone="Europe/Madrid")

    assert reply.headers["X-ClickHouse-Query-Id"] == "headers"
    assert reply.headers["X-ClickHouse-Format"] == "JSON"
    assert reply.headers["X-ClickHouse-Timezone"] == "Europe/Madrid"
    assert reply.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert (reply.summary["read_rows"], reply.summary["result_rows"]) == (3, 3)


def test_commands_have_no_format_but_empty_results_do(gateway: Database) -> None:
    assert "X-ClickHouse-Format" not in gateway.ask("DROP TABLE IF EXISTS absent").headers
    assert gateway.ask("SELECT 1 WHERE 0").headers["X-ClickHouse-Format"] == "TabSeparated"
    assert "X-ClickHouse-Format" in gateway.ask("KILL QUERY WHERE query_id = 'absent'").headers


def test_parameters_are_substituted_everywhere(gateway: Database, schema: str) -> None:
    text = "it's a \\\\ and\\ta tab"

    assert gateway.ask("SELECT {s:String} FORMAT TSVRaw", param_s=text).text == "it's a \\ and\ta tab\n"
    gateway.value("CREATE TABLE {t:Identifier} (a Array(Int8)) ENGINE = Memory", param_t="t", database=schema)
    gateway.value("INSERT INTO {t:Identifier} FORMAT TSV\n[1,2]", param_t="t", database=schema)
    assert gateway.value("SELECT has(a, {x:Int8}) FROM t", param_x=2, database=schema) == "1"


def test_settings_and_database_hold_for_one_request(gateway: Database, schema: str) -> None:
    setting = "SELECT getSetting('max_block_size'), currentDatabase()"

    assert gateway.value(setting, max_block_size=777, database=schema) == f"777\t{schema}"
    assert gateway.value(setting) == "65409\tdefault"


# Answers


def test_rows_leave_before_the_query_ends_and_errors_follow_with_their_tag(gateway: Database) -> None:
    reply = gateway.ask(FAILS_LATE)

    tag = reply.headers["X-ClickHouse-Exception-Tag"]
    rows, _, rest = reply.body.partition(b"\r\n__exception__\r\n")
    text, _, end = rest.partition(b"\n%d %b\r\n__exception__\r\n" % (rest.index(b"\n") + 1 - 18, tag.encode()))
    assert reply.status == 200
    assert not reply.is_complete
    assert rows == b"0\t0\n" * 100
    assert rest.startswith(tag.encode() + b"\r\nCode: 395. DB::Exception: ")
    assert (len(tag), text != b"", end) == (16, True, b"")


def test_broken_off_answer_stays_until_the_client_has_read_its_error_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        closed = asyncio.Event()

        async def handle(http: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(http)
            await response.write(b"error")
            await server.close_when_read(http)
            closed.set()
            return response

        application = web.Application()
        application.router.add_get("/", handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            reader, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"error")
            assert not closed.is_set()
            writer.close()
            await closed.wait()
        finally:
            await runner.cleanup()

    monkeypatch.setattr(server, "LINGER_S", 3600)
    asyncio.run(asyncio.wait_for(work(), 60))


def test_waiting_for_the_end_gives_errors_their_status(gateway: Database) -> None:
    reply = gateway.ask(FAILS_LATE, wait_end_of_query=1)

    assert (reply.status, reply.code) == (500, 395)


STREAMED = [
    *["Native", "RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes", "TSV", "TSVRaw", "TSVWithNamesAndTypes"],
    *["CSV", "CSVWithNames", "CSVWithNamesAndTypes", "JSONEachRow", "JSONCompactEachRowWithNames", "JSON", "Parquet"],
]


@pytest.mark.parametrize("format", STREAMED)
def test_streamed_answer_equals_the_one_in_one_piece(gateway: Database, format: str) -> None:
    columns = 'number AS `n"\n,`, toString(number) AS s' if "Names" in format else "number, toString(number) AS s"
    query = f"SELECT {columns} FROM numbers(30000) FORMAT {format}"

    whole = gateway.ask(query, max_block_size=1000000, output_format_write_statistics=0)
    streamed = gateway.ask(query, max_block_size=7000, output_format_write_statistics=0)

    assert len(whole.body) > 100_000
    if format == "Native":  # blocks have headers of their own
        sums = {"query": "SELECT count(), sum(number), sum(toUInt32(s)) FROM t", "t_structure": "number UInt64, s String"}
        body, headers = form(("t", "t.native", streamed.body))
        assert gateway.ask(body, headers=headers, t_format="Native", **sums).text == "30000\t449985000\t449985000\n"
        assert len(streamed.body) > len(whole.body)
    elif format == "Parquet":
        assert pq.read_table(pa.BufferReader(streamed.body)).num_rows == 30000
    else:
        assert streamed.body == whole.body


def test_totals_and_extremes_follow_the_rows(gateway: Database) -> None:
    totals = "SELECT number % 2 AS k, count() FROM numbers(5) GROUP BY k WITH TOTALS ORDER BY k"

    assert gateway.ask(totals).text == "0\t3\n1\t2\n\n0\t5\n"
    assert gateway.ask("SELECT number FROM numbers(3) SETTINGS extremes = 1").text == "0\n1\n2\n\n0\n2\n"
    assert gateway.ask("SELECT number FROM numbers(3)", extremes=1).text == "0\n1\n2\n\n0\n2\n"


def test_arrow_stream_is_one_stream_of_all_blocks(gateway: Database) -> None:
    query = "SELECT number, toLowCardinality(toString(number % 3)) AS s FROM numbers(5000) FORMAT ArrowStream"
    reply = gateway.ask(query, max_block_size=1000, output_format_arrow_low_cardinality_as_dictionary=1)

    with pa.ipc.open_stream(reply.body) as reader:
        table = reader.read_all()
    assert table["number"].to_pylist() == list(range(5000))
    assert table["s"].to_pylist() == [str(number % 3) for number in range(5000)]
    assert table["s"].num_chunks >= 5


@pytest.mark.parametrize(
    ("encoding", "decode"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("lz4", lz4.frame.decompress),
        ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    ],
)
def test_answers_are_compressed_as_the_client_accepts(gateway: Database, encoding: str, decode: object) -> None:
    query = "SELECT number FROM numbers(300000)"
    reply = gateway.ask(query, headers={"Accept-Encoding": f"br, {encoding};q=0.9"}, enable_http_compression=1)

    assert reply.headers["Content-Encoding"] == encoding
    assert decode(reply.body) == gateway.ask(query).body  # type: ignore[operator]
    assert "Content-Encoding" not in gateway.ask(query, headers={"Accept-Encoding": encoding}).headers


# INSERT


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "lz4", "zstd"])
def test_insert_takes_compressed_data_behind_the_statement_in_the_url(gateway: Database, schema: str, encoding: str) -> None:
    encode = {
        "": bytes,
        "gzip": lambda data: gzip.compress(data[:50000]) + gzip.compress(data[50000:]),  # two members
        "deflate": zlib.compress,
        "lz4": lz4.frame.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[encoding]
    gateway.value(f"CREATE TABLE {schema}.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    data = b"".join(b"%d,row\n" % number for number in range(100_000))

    reply = gateway.ask(encode(data), query=f"INSERT INTO {schema}.t FORMAT CSV", headers={"Content-Encoding": encoding})

    assert reply.summary["written_rows"] == 100_000
    assert gateway.value(f"SELECT count(), sum(a) FROM {schema}.t") == "100000\t4999950000"


def test_truncated_compressed_body_is_refused(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a UInt32) ENGINE = MergeTree ORDER BY a")
    body = gzip.compress(b"1\n2\n3\n" * 1000)

    for broken in (body[:-20], b"not gzip"):
        reply = gateway.ask(broken, query=f"INSERT INTO {schema}.t FORMAT TSV", headers={"Content-Encoding": "gzip"})
        assert reply.status == 400
        assert "gzip" in reply.text
    assert gateway.value(f"SELECT count() FROM {schema}.t") == "0"


def test_insert_may_select_from_its_data(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")

    reply = gateway.ask(
        f"INSERT INTO {schema}.t SELECT a * 10, upper(b) FROM input('a UInt32, b String') FORMAT CSV\n1,x\n2,y\n"
    )

    assert reply.status == 200, reply.text
    assert gateway.value(f"SELECT * FROM {schema}.t ORDER BY a") == "10\tX\n20\tY"


def test_repeated_insert_with_a_token_is_written_once(gateway: Database, schema: str) -> None:
    gateway.value(
        f"CREATE TABLE {schema}.t (a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"
    )
    for token in ("one", "one", "two"):
        gateway.value(f"INSERT INTO {schema}.t FORMAT CSV\n7\n", insert_deduplication_token=token)

    assert gateway.value(f"SELECT count() FROM {schema}.t") == "2"


def test_bad_row_writes_nothing_and_says_where(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a UInt32) ENGINE = MergeTree ORDER BY a")

    reply = gateway.ask(f"INSERT INTO {schema}.t FORMAT CSV\n1\n2\nthree\n")

    assert (reply.code, reply.status) == (117, 400)
    assert "(at row 3)" in reply.text
    assert gateway.value(f"SELECT count() FROM {schema}.t") == "0"


def test_insert_cut_off_by_its_client_writes_nothing(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a UInt32) ENGINE = MergeTree ORDER BY a")
    key = f"X-ClickHouse-User: writer\r\nX-ClickHouse-Key: {WRITER_PASSWORD}\r\n"
    request = (
        f"POST /?query_id=cut&query=INSERT+INTO+{schema}.t+FORMAT+CSV HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 9999\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(request.encode() + b"1\n" * 1000)
        # Its id is taken as long as it waits for the rest.
        deadline_s = time.monotonic() + 10
        while gateway.ask("SELECT 1", query_id="cut").code != 216:
            assert time.monotonic() < deadline_s
    while gateway.ask("SELECT 1", query_id="cut").code == 216:
        assert time.monotonic() < deadline_s

    assert gateway.value(f"SELECT count() FROM {schema}.t") == "0"


# Sessions


def test_session_keeps_settings_temporary_tables_and_nothing_of_a_request(gateway: Database, schema: str) -> None:
    session = {"session_id": schema}
    gateway.value("CREATE TEMPORARY TABLE kept (x Int32)", **session)
    gateway.value("INSERT INTO kept VALUES (5)", **session)
    gateway.value("SET max_block_size = 777", **session, max_threads=1)
    asked = "SELECT (SELECT x FROM kept), getSetting('max_block_size'), getSetting('join_use_nulls'), currentDatabase()"

    assert gateway.value(asked, **session, join_use_nulls=1, database=schema) == f"5\t777\ttrue\t{schema}"
    assert gateway.value(asked, **session, max_block_size=5) == "5\t5\tfalse\tdefault"
    assert gateway.value(asked, **session) == "5\t777\tfalse\tdefault"
    assert gateway.ask("SELECT * FROM kept").code == 60
    assert gateway.ask("SELECT * FROM kept", user="default", **session).code == 60


def test_session_ends_when_told_and_can_be_asked_for(gateway: Database, schema: str) -> None:
    assert gateway.ask("SELECT 1", session_id=schema, session_check=1).code == 372
    gateway.value("SET max_block_size = 777", session_id=schema)
    gateway.value("SELECT 1", session_id=schema, session_check=1, close_session=1)
    assert gateway.ask("SELECT 1", session_id=schema, session_check=1).code == 372
    assert gateway.ask("SELECT 1", session_id=schema, session_timeout=999999).code == 374


def test_session_runs_one_request_at_a_time(gateway: Database, schema: str) -> None:
    thread = threading.Thread(target=gateway.ask, args=(ENDLESS,), kwargs={"session_id": schema, "query_id": schema})
    thread.start()
    try:
        wait_until_running(gateway, schema)
        reply = gateway.ask("SELECT 1", session_id=schema)
    finally:
        gateway.value(f"KILL QUERY WHERE query_id = '{schema}' FORMAT Null")
        thread.join()

    assert reply.code == 373
    assert "locked by a concurrent client" in reply.text
    assert gateway.value("SELECT 1", session_id=schema) == "1"


# Running queries


def test_query_of_a_client_that_went_away_is_stopped(gateway: Database) -> None:
    key = f"X-ClickHouse-User: writer\r\nX-ClickHouse-Key: {WRITER_PASSWORD}\r\n"
    request = f"POST /?query_id=left HTTP/1.1\r\nHost: x\r\n{key}Content-Length: {len(ENDLESS)}\r\n\r\n{ENDLESS}"
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(request.encode())
        wait_until_running(gateway, "left")

    wait_until_running(gateway, "left", runs=False)


def test_stream_to_a_client_that_went_away_is_stopped(gateway: Database) -> None:
    query = "SELECT number FROM numbers(1000000000000)"
    key = f"X-ClickHouse-User: writer\r\nX-ClickHouse-Key: {WRITER_PASSWORD}\r\n"
    request = f"POST /?query_id=stream HTTP/1.1\r\nHost: x\r\n{key}Content-Length: {len(query)}\r\n\r\n{query}"
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(request.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        wait_until_running(gateway, "stream")

    wait_until_running(gateway, "stream", runs=False)


def test_query_id_names_one_running_query(gateway: Database) -> None:
    replies = []
    thread = threading.Thread(target=lambda: replies.append(gateway.ask(ENDLESS, query_id="twice")))
    thread.start()
    try:
        wait_until_running(gateway, "twice")
        second = gateway.ask("SELECT 1", query_id="twice")
    finally:
        killed = gateway.value("KILL QUERY WHERE query_id = 'twice'")
        thread.join()

    assert second.code == 216
    assert "sipHash64" in killed
    assert replies[0].code == 394


def test_query_log_knows_the_clients_ids_and_comments(gateway: Database) -> None:
    gateway.value("SELECT 'logged'", query_id="log-1", log_comment="why")
    gateway.value("SYSTEM FLUSH LOGS")

    columns = "query_id, log_comment, query"
    rows = gateway.value(f"SELECT DISTINCT {columns} FROM system.query_log WHERE query_id = 'log-1' FORMAT TSVRaw")
    assert rows == "log-1\twhy\tSELECT 'logged'"
    assert gateway.value("SELECT count() FROM system.query_log WHERE query LIKE '%SET ROLE%' AND query_id != queryID()") == "0"


def test_no_statement_of_a_client_stays_out_of_the_query_log(gateway: Database) -> None:
    gateway.value("/*gateway*/ SELECT 'hidden'", query_id="log-2")
    gateway.value("SYSTEM FLUSH LOGS")

    assert gateway.value("SELECT count() > 0 FROM system.query_log WHERE query_id = 'log-2'") == "1"


def test_readers_leave_places_for_writers(gateway: Database) -> None:
    slow = "SELECT sleepEachRow(0.1) FROM numbers(600)"
    replies: list[int] = []

    def read(number: int) -> None:
        replies.append(gateway.ask(slow, user="analyst", query_id=f"reader-{number}", max_block_size=1).code)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(server.READERS_MAX + 2)]
    for thread in threads:
        thread.start()
    try:
        while len(replies) < 2:
            threads[0].join(0.01)
        assert gateway.value("SELECT 1") == "1"
        assert gateway.ask("SELECT 1", user="analyst").code == 202
    finally:
        gateway.value("KILL QUERY WHERE startsWith(query_id, 'reader-') SYNC FORMAT Null")
        for thread in threads:
            thread.join()

    assert replies[:2] == [202, 202]


def test_readers_see_whole_inserts_while_a_writer_writes(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a UInt32) ENGINE = MergeTree ORDER BY a")
    counts: list[int] = []

    def read() -> None:
        for _ in range(15):
            counts.append(int(gateway.value(f"SELECT count() FROM {schema}.t")))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(15):
        gateway.value(f"INSERT INTO {schema}.t SELECT number FROM numbers(1000)")
    for reader in readers:
        reader.join()

    assert len(counts) == 60
    assert all(count % 1000 == 0 for count in counts)
    assert gateway.value(f"SELECT count() FROM {schema}.t") == "15000"


# Forms


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A multipart body: name, file name (none if empty), content."""
    lines = []
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename else ""
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        lines.append(head.encode() + content + b"\r\n")
    return b"".join(lines) + b"--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("CSV", b"1,x\n2,y\n"),
        ("CSVWithNames", b"b,a\nx,1\ny,2\n"),
        ("JSONEachRow", b'{"a":1,"b":"x"}{"a":2,"b":"y"}'),
        ("Values", b"(1,'x'),(2,'y')"),
        ("Native", b"\x02\x02\x01a\x05Int32\x01\0\0\0\x02\0\0\0\x01b\x06String\x01x\x01y"),
        ("Parquet", b""),
        ("ArrowStream", b""),
    ],
)
def test_external_table_in_every_format(gateway: Database, format: str, data: bytes) -> None:
    if format in ("Parquet", "ArrowStream"):
        data = gateway.ask(f"SELECT * FROM values('a Int32, b String', (1, 'x'), (2, 'y')) FORMAT {format}").body
    body, headers = form(("t", "t.data", data))

    for user in ("writer", "analyst"):
        reply = gateway.ask(
            body,
            user=user,
            headers=headers,
            query="SELECT a, b FROM t WHERE a >= {least:Int32}",
            param_least=1,
            t_format=format,
            t_structure="a Int32, b String",
        )
        assert reply.text == "1\tx\n2\ty\n"


def test_external_tables_join_and_go_with_the_request(gateway: Database, schema: str) -> None:
    body, headers = form(("t", "t.tsv", b"1\t[1,2]\n2\t[]\n"), ("u", "u.tsv", b"2\tb\n"), ("param_x", "", b"2"))
    parameters = {"t_types": "Int32,Array(Int8)", "u_structure": "id Int32, name String", "session_id": schema}

    query = "SELECT _1, name FROM t JOIN u ON _1 = id WHERE id = {x:Int32}"
    reply = gateway.ask(body, headers=headers, query=query, **parameters)  # type: ignore[arg-type]

    assert reply.text == "2\tb\n"
    assert gateway.ask("SELECT * FROM t", session_id=schema).code == 60


@pytest.mark.parametrize("structure", ["a String DEFAULT file('/etc/hostname')", "a Int8) AS SELECT (1", "a Int8"])
def test_external_table_cannot_smuggle(gateway: Database, structure: str) -> None:
    body, headers = form(("t", "t.csv", b""), ("query", "", b"SELECT * FROM t"))

    reply = gateway.ask(body, user="analyst", headers=headers, t_structure=structure)

    assert reply.status == 200 if structure == "a Int8" else reply.code in (62, 497)


def test_values_in_an_external_table_are_evaluated_for_writers_only(gateway: Database) -> None:
    body, headers = form(("t", "t.values", b"(upper('x'))"))
    parameters = {"query": "SELECT * FROM t", "t_structure": "a String", "t_format": "Values"}

    assert gateway.ask(body, headers=headers, **parameters).text == "X\n"  # type: ignore[arg-type]
    assert gateway.ask(body, user="analyst", headers=headers, **parameters).code == 344  # type: ignore[arg-type]


# Processes


def test_data_survives_kill_9_and_a_clean_end(tmp_path: Path) -> None:
    from tests.databases import start_database
    from tests.processes import end

    path = tmp_path / "data"
    database = start_database(path)
    try:
        database.value("CREATE TABLE kept (a UInt32) ENGINE = MergeTree ORDER BY a")
        database.value("INSERT INTO kept SELECT number FROM numbers(100000)")
        database.process.kill()
        database.process.wait()

        database = start_database(path)
        assert database.value("SELECT count(), sum(a) FROM kept") == "100000\t4999950000"
        database.process.terminate()
        assert database.process.wait(20) == 0

        database = start_database(path)
        assert database.value("SELECT count() FROM kept") == "100000"
    finally:
        end(database.process)


@pytest.mark.parametrize("what", ["port", "path", "host"])
def test_what_is_taken_or_open_to_everybody_is_said_in_two_lines(gateway: Database, tmp_path: Path, what: str) -> None:
    import sys

    from tests.processes import environment

    options = {"port": str(gateway.port) if what == "port" else "0", "path": str(gateway.path if what == "path" else tmp_path)}
    host = "0.0.0.0" if what == "host" else "127.0.0.1"
    arguments = ["--port", options["port"], "--path", options["path"], "--host", host]

    result = subprocess.run(
        [sys.executable, "-m", "streams.embedded.database", *arguments], env=environment(), capture_output=True, text=True
    )

    assert result.returncode == (3 if what == "port" else 2)
    assert result.stderr.count("\n") == 2
    assert "hint: " in result.stderr


# Anything at all


def test_no_request_is_a_puzzle(gateway: Database) -> None:
    seed = 6
    generator = random.Random(seed)
    words = [
        *[
            "SELECT",
            "1",
            "INSERT",
            "INTO",
            "t",
            "(",
            ")",
            "FORMAT",
            "CSV",
            "VALUES",
            "'",
            "`",
            "\\",
            ";",
            "--",
            "/*",
            "*/",
            "\x00",
            "ÿ",
            "{x:Int8}",
            "WITH",
            "KILL",
            "QUERY",
            "WHERE",
            "query_id",
            "=",
        ],
        *[
            "SHOW",
            "CREATE",
            "TABLE",
            "system.one",
            "SET",
            "max_threads",
            "$$",
            ",",
            "APPLY",
            "*",
            "EXPLAIN",
            "OUTFILE",
            "DESCRIBE",
            "é",
        ],
        "FROM input('a Int8')",
        "\n",
    ]
    parameters = [
        "param_x",
        "database",
        "default_format",
        "session_id",
        "compress",
        "decompress",
        "buffer_size",
        "query",
        "role",
        "a`b",
    ]

    for number in range(400):
        body = " ".join(generator.choices(words, k=generator.randrange(9))).encode("latin-1")
        chosen = {name: generator.choice(words) for name in generator.sample(parameters, generator.randrange(3))}
        reply = gateway.ask(body, user=generator.choice(["writer", "analyst"]), **chosen)  # type: ignore[arg-type]

        assert reply.code not in (1001, 1002), f"seed {seed}, request {number}: {body!r} {chosen} {reply.text}"
        assert reply.status == 200 or reply.text.startswith("Code: "), f"seed {seed}, request {number}: {body!r} {chosen}"
    assert gateway.value("SELECT 1") == "1"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("session_timezone", "x\r\nSet-Cookie: a=b", 36),
        ("default_format", "CSV\r\nX: y", 73),
        ("query_id", "a" * 100_000, 36),
        ("query_id", "a\u2028b", 36),
        ("buffer_size", "²", 72),
        ("client_protocol_version", "9" * 5000, 72),
        ("session_timeout", "٣", 374),
        ("max_threads", "²", 27),
    ],
)
def test_wrong_values_are_named_and_reach_no_header(gateway: Database, name: str, value: str, code: int) -> None:
    reply = gateway.ask("SELECT 1", session_id="values", **{name: value})  # type: ignore[arg-type]

    assert reply.code == code, reply.text[:300]
    assert not {"Set-Cookie", "X"} & set(reply.headers)

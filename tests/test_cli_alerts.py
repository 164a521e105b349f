"""`orbitrack alerts`: listing, testing a webhook, reviving dead letters, being a receiver."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pyarrow as pa
import pytest

from streams.webhooks import Outbox
from tests.processes import environment
from tests.test_alert import HOT, now, record
from tests.webhook_server import SECRET, webhook


def orbitrack(*arguments, directory):
    command = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(command, env=environment(), cwd=directory, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def receiver(directory):
    command = [sys.executable, "-m", "streams.cli", "alerts", "receive", "--listen", "127.0.0.1:0"]
    env = environment() | {"ORBITRACK_WEBHOOK_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=env, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(120, process.kill)
    guard.start()
    try:
        yield process, re.search(r"http://\S+", process.stderr.readline())[0]
    finally:
        guard.cancel()
        if process.poll() is None:
            process.kill()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


def write_config(directory, url, **settings):
    lines = ['data_dir = "data"', "[database]", 'dsn = "http://127.0.0.1:1/orbitrack"', "[[webhook]]", 'name = "ops"']
    lines.append(f'url = "{url}"')
    lines += [f'secret = "{settings.get("secret", SECRET)}"', f"allow = {json.dumps(settings.get('allow', ['127.0.0.0/8']))}"]
    (directory / "orbitrack.toml").write_text("\n".join(lines) + "\n")


def test_test_alert_arrives_signed_and_is_verified_by_the_receiver(tmp_path):
    with receiver(tmp_path) as (process, url):
        write_config(tmp_path, url)
        done = orbitrack("alerts", "test", "ops", directory=tmp_path)
        shown = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert done.returncode == 0, done.stderr
    answer = r"HTTP 204 \(\d+ ms, msg_test_\w+\)\n"
    assert re.fullmatch(f"firing: {answer}resolved: {answer}", done.stdout)
    assert shown[0].startswith("FIRING OrbitrackTest test: This is a test")
    assert "signature ok" in shown[1]


def test_webhook_that_does_not_answer_gives_status_1_and_its_reason(tmp_path):
    write_config(tmp_path, "http://127.0.0.1:1/", allow=[])
    done = orbitrack("alerts", "test", "ops", directory=tmp_path)
    assert done.returncode == 1
    assert "firing: refused: 127.0.0.1 is a loopback address; allow" in done.stdout
    assert "Traceback" not in done.stderr


def test_wrong_name_and_wrong_secret_give_status_2(tmp_path):
    write_config(tmp_path, "http://127.0.0.1:1/", secret="whsec_!!")
    done = orbitrack("alerts", "test", "opps", directory=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, "no [[webhook]] is named 'opps'\n  hint: did you mean 'ops'?")
    done = orbitrack("alerts", "test", "ops", directory=tmp_path)
    assert done.returncode == 2
    assert "the secret of webhook 'ops' is not base64" in done.stderr
    assert "whsec_!!" not in done.stdout + done.stderr


def test_outbox_is_shown_while_the_database_is_away(tmp_path):
    from streams.alert import Alerter

    write_config(tmp_path, "http://127.0.0.1:1/")
    outbox = Outbox(tmp_path / "data" / "alert" / "outbox.sqlite")
    Alerter([HOT], outbox, [webhook("http://127.0.0.1:1/")]).take(0, 0, record(0, a=90), now(0))
    done = orbitrack("alerts", "--format", "json", directory=tmp_path)
    assert done.returncode == 3
    shown = json.loads(done.stdout)
    assert shown["alerts"] is None
    assert shown["webhooks"] == [{
        "webhook": "ops", "waiting": 1, "delivered": 0, "dead": 0, "failures": 0, "last_error": None,
        "oldest": "2026-03-01T10:00:10Z",
    }]
    message = outbox.next_due("ops", now(0))
    outbox.failed(message, now(0), 400, "no", 1.0, due_ns=None, failures=0, closed_until_ns=0)
    done = orbitrack("alerts", "retry", "ops", directory=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 messages will be tried again\n")
    assert outbox.next_due("ops", now(10**8)) is not None
    outbox.close()


@pytest.mark.integration
def test_present_alerts_are_those_of_the_table(tmp_path, database):
    from streams.clickhouse.alerts import Records
    from streams.clickhouse.client import connect
    from streams.config import Database
    from streams.rules import RuleEngine
    from streams.webhooks.outbox import Attempt

    engine = RuleEngine([HOT])
    client = connect(database)
    for number, levels in enumerate(({"a": 90, "b": 90, "c": 20}, {"a": 95, "b": 20, "c": 20})):
        events = engine.feed(record(number, **levels), now(number))
        client.insert_arrow("alert_events", pa.Table.from_batches([events]))
    (tmp_path / "orbitrack.toml").write_text(f'[database]\ndsn = "{database}"\n')
    done = orbitrack("alerts", "--format", "json", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    (alert,) = json.loads(done.stdout)["alerts"]
    assert (alert["state"], alert["rule"], alert["entity"], alert["since"]) == ("firing", "TooHot", "a", "2026-03-01T10:00:00Z")

    records = Records(Database(dsn=database))
    assert records.maintenance() == []
    row = "'a', '2026-03-01 10:00:00', '2026-03-01 11:00:00'"
    client.command(f"INSERT INTO maintenance (id, entity, start, end) VALUES (7, {row}), (8, {row.replace('11:', '10:')})")
    (work,) = records.maintenance()
    assert (work.id, work.entity, work.end_ns - work.start_ns, work.reason) == ("7", "a", 3600 * 10**9, "planned")
    client.command(f"INSERT INTO maintenance (id, entity, start, end, cancelled) VALUES (7, {row}, 1)")
    assert records.maintenance() == []

    attempts = [
        Attempt(1, now(0), "msg_1", "ops", 1, "retry", None, "no answer", 5000.0, "TooHot", f"{2**64 - 1:016x}", b"{}"),
        Attempt(2, now(1), "msg_1", "ops", 2, "dead", 400, "HTTP 400", 3.5, "TooHot", "", b'{"a": 1}'),
    ]
    for _ in range(2):
        records.write(attempts)
    deliveries = client.query("SELECT endpoint, attempt, status, outcome, fingerprint FROM deliveries FINAL ORDER BY attempt")
    assert deliveries.result_rows == [("ops", 1, 0, "retry", 2**64 - 1), ("ops", 2, 400, "dead", 0)]
    letters = client.query("SELECT stage, target, code, payload FROM dead_letters FINAL").result_rows
    assert letters == [("webhook", "ops", 400, '{"a": 1}')]
    client.close()

"""The alerter with its outbox: what is decided is decided once, wherever the process dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from streams.alert import Alerter, Role, identities
from streams.clock import NS
from streams.config import Config
from streams.errors import ConfigError, DependencyError, InputError
from streams.ipc import decode
from streams.model import ALERTS
from streams.rules import Answer, Maintenance, Rule, bind
from streams.rules.names import examine_names, rules_of
from streams.rules.rule import Levels
from streams.slo import AlertCondition, AlertPolicy, load
from streams.telemetry import Telemetry
from streams.webhooks import Outbox
from tests.alert_scenario import seconds, windows_batch
from tests.webhook_server import webhook

REPOSITORY = Path(__file__).parents[1]
HOT = Rule("TooHot", "threshold", "temp_c", op=">", value=80.0, resolve=80.0)
SILENT = Rule("Silent", "absence", "temp_c", after_ns=60 * NS)
HOOK = webhook("http://127.0.0.1:9/")
START = seconds("10:00:00")


def record(number: int, **levels: float) -> pa.RecordBatch:
    """The windows of all entities that begin `number` x 10 s after the start."""
    return windows_batch([
        {"bucket": START + 10 * number, "entity": entity, "metric": "temp_c", "value": value}
        for entity, value in levels.items()
    ])


def now(number: int) -> int:
    return (START + 10 * number + 10) * NS


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(tmp_path / "alert" / "outbox.sqlite")
    yield box
    box.close()


def events_of(outbox):
    return [decode(content).to_pylist()[0] for _, _, content in outbox.unpublished(10_000)]


def waiting(outbox):
    return outbox.database.execute("SELECT webhook_id, body FROM messages ORDER BY number").fetchall()


def test_decision_leaves_event_message_progress_and_state_together(outbox):
    alerter = Alerter([HOT], outbox, [HOOK])
    assert not alerter.take(3, 7, record(0, a=20), now(0))
    assert alerter.take(3, 8, record(1, a=90), now(1))
    assert outbox.progress() == {3: 8}
    (event,) = events_of(outbox)
    assert (event["rule"], event["state"], event["seq"], event["value"]) == ("TooHot", "firing", 1, 90.0)
    assert len(waiting(outbox)) == 1
    again = Alerter([HOT], outbox, [HOOK])
    assert again.engine.snapshot() == alerter.engine.snapshot()


def test_record_that_was_applied_is_passed_over(outbox):
    alerter = Alerter([HOT], outbox, [HOOK])
    alerter.take(0, 5, record(0, a=90), now(0))
    for offset in (5, 4, 0):
        assert not alerter.take(0, offset, record(1, a=20), now(1))
    assert alerter.take(1, 5, record(1, a=20), now(1))
    assert [event["state"] for event in events_of(outbox)] == ["firing", "resolved"]


def test_event_record_is_one_row_keyed_by_its_identity(outbox):
    alerter = Alerter([HOT], outbox, [])
    alerter.take(0, 0, record(0, a=90, b=91), now(0))
    records = outbox.unpublished(10)
    for _, identity, content in records:
        batch = decode(content)
        assert batch.schema.equals(ALERTS, check_metadata=True)
        assert batch.num_rows == 1
        assert identities(batch) == [identity]
        assert identity.startswith("TooHot/")
        assert identity.endswith("/1")
    assert len({identity for _, identity, _ in records}) == 2


def test_unpublished_events_come_again_until_acknowledged(outbox):
    Alerter([HOT], outbox, []).take(0, 0, record(0, a=90, b=91, c=92), now(0))
    first = outbox.unpublished(2)
    assert [number for number, _, _ in outbox.unpublished(2)] == [number for number, _, _ in first]
    outbox.published([first[0][0]])
    assert len(outbox.unpublished(10)) == 2


def test_progress_without_decisions_is_written_within_five_seconds(outbox):
    alerter = Alerter([HOT], outbox, [])
    alerter.take(0, 0, record(0, a=20), now(0))
    alerter.take(0, 1, record(1, a=20), now(0) + 4 * NS)
    assert outbox.progress() == {0: 0}
    alerter.tick(now(0) + 5 * NS)
    assert outbox.progress() == {0: 1}
    assert alerter.committed == {0: 1}


def test_absence_is_decided_by_ticks(outbox):
    alerter = Alerter([SILENT], outbox, [HOOK])
    alerter.take(0, 0, record(0, a=20), now(0))
    ticks = [alerter.tick(now(0) + second * NS) for second in range(1, 70)]
    assert ticks.index(True) == 59
    assert ticks.count(True) == 1


def test_maintenance_is_no_message(outbox):
    alerter = Alerter([HOT], outbox, [HOOK])
    alerter.suppress([Maintenance("7", "a", 0, now(100))])
    alerter.take(0, 0, record(0, a=90), now(0))
    assert [event["state"] for event in events_of(outbox)] == ["suppressed"]
    assert waiting(outbox) == []


def test_rules_reach_only_the_webhooks_that_they_name(outbox):
    hooks = [webhook("http://127.0.0.1:9/", name=name) for name in ("ops", "pager", "chat")]
    rules = [replace(HOT, name="A", webhooks=("pager",)), replace(HOT, name="B"), replace(HOT, name="C", webhooks=())]
    Alerter(rules, outbox, hooks).take(0, 0, record(0, a=90), now(0))
    rows = outbox.database.execute("SELECT webhook, lane FROM messages ORDER BY webhook, lane").fetchall()
    assert rows == [("chat", "B"), ("ops", "B"), ("pager", "A"), ("pager", "B")]


def test_alerts_of_one_rule_and_moment_share_a_message(outbox):
    Alerter([HOT], outbox, [HOOK]).take(0, 0, record(0, **{f"e{n}": 90 for n in range(250)}), now(0))
    assert len(waiting(outbox)) == 3
    assert len(events_of(outbox)) == 250


def test_new_topic_is_read_from_its_start(outbox):
    alerter = Alerter([HOT], outbox, [])
    alerter.take(0, 900, record(0, a=20), now(0))
    alerter.take(1, 5, record(0, b=20), now(0))
    assert alerter.forget_progress({0: 901, 1: 6}) == []
    assert alerter.forget_progress({0: 12, 1: 6}) == [0]
    assert alerter.take(0, 0, record(1, a=90), now(1))


def test_rule_that_names_no_webhook_of_the_configuration_is_refused(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  - {name: A, kind: absence, metric: up, after: 1m, webhooks: [opps]}\n")
    config = Config.model_validate(
        {"alert": {"rules": [str(file)]}, "webhook": [HOOK]}, context={"base": tmp_path, "environ": {}}
    )
    with pytest.raises(ConfigError) as caught:
        rules_of(config, [])
    assert str(caught.value).splitlines() == [
        f"{file}:2: no [[webhook]] is named 'opps'", "  at rules[0].webhooks[0]", "  hint: did you mean 'ops'?",
    ]


def test_alert_policies_are_rules_of_the_configuration(tmp_path):
    slos = load([REPOSITORY / "schemas" / "slo"])
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: Burn, kind: burn_rate, slo: 'rack-*'}\n")
    config = Config.model_validate(
        {"alert": {"rules": ["rules.yaml"]}, "webhook": [HOOK]}, context={"base": tmp_path, "environ": {}}
    )
    assert [rule.name for rule in rules_of(config, slos)] == [
        "Burn:rack-interface-error-free", "packet-delivery-fast-burn:satellite-packet-delivery",
    ]
    with pytest.raises(ConfigError) as caught:
        rules_of(config, [])
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/rules.yaml:2: no SLO is named 'rack-*'", "  at rules[0].slo", "  hint: [slo] files define: none",
    ]


def test_rule_and_policy_of_one_name_are_refused(tmp_path):
    policy = {"name": "Burn", "condition": AlertCondition("c", "page", 10, 3600)}
    policy |= {"file": "slo.yaml", "line": 7}
    slos = [replace(slo, alerts=(AlertPolicy(**policy),)) for slo in load([REPOSITORY / "schemas" / "slo"])]
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: Burn, kind: burn_rate}\n")
    config = Config.model_validate({"alert": {"rules": ["rules.yaml"]}}, context={"base": tmp_path, "environ": {}})
    with pytest.raises(ConfigError) as caught:
        rules_of(config, slos)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/rules.yaml:2: the AlertPolicy at slo.yaml:7 makes a rule 'Burn', too", "  at rules[0].name",
        "  hint: give one of them another name",
    ]


def test_two_policies_that_make_one_rule_are_refused(tmp_path):
    condition = AlertCondition("c", "page", 10, 3600)
    policies = (
        AlertPolicy("Burn", condition, when_no_data=True, file="a.yaml", line=7),
        AlertPolicy("Burn-no-data", condition, file="b.yaml", line=8),
    )
    slos = [replace(slo, alerts=policies) for slo in load([REPOSITORY / "schemas" / "slo"])]
    config = Config.model_validate({}, context={"base": tmp_path, "environ": {}})
    with pytest.raises(ConfigError) as caught:
        rules_of(config, slos)
    assert str(caught.value).splitlines() == [
        "a.yaml:7: the AlertPolicy at b.yaml:8 makes a rule 'Burn-no-data', too",
        "  hint: give one of them another name; with alertWhenNoData a policy is a rule NAME-no-data, too",
    ]
    assert len(examine_names([], [], slos)) == 1


def test_answer_of_the_database_is_a_decision_with_its_message_and_state(outbox):
    slos = load([REPOSITORY / "schemas" / "slo"])[:1]
    (rule,) = bind([Rule("Burn", "burn_rate", "burn_rate", poll=Levels("burn_rate"))], slos)
    alerter = Alerter([rule], outbox, [HOOK])
    assert alerter.hear([Answer(rule.name, ["SAT-1", "SAT-2"], [20.0, 0.0], [1, -1])], now(0), now(0))
    (event,) = events_of(outbox)
    assert (event["rule"], event["state"], event["value"]) == ("Burn:satellite-packet-delivery", "firing", 20.0)
    assert len(waiting(outbox)) == 1
    again = Alerter([rule], outbox, [HOOK])
    assert not again.hear([Answer(rule.name, ["SAT-1"], [20.0], [1])], now(0), now(0))
    assert again.hear([Answer(rule.name, ["SAT-1"], [0.5], [-1])], now(6), now(6))
    assert [each["state"] for each in events_of(outbox)] == ["firing", "resolved"]


class Listener:
    """In the place of the database: what it was asked for."""

    def __init__(self):
        self.asked, self.maintenance_asked, self.is_away = 0, 0, False

    def maintenance(self):
        self.maintenance_asked += 1
        return []

    def ask(self, _question):
        if self.is_away:
            raise DependencyError("the database is away")
        self.asked += 1
        return [], {}


def test_no_minute_is_asked_for_twice_however_short_the_poll(outbox):
    alerter = Alerter([BURN], outbox, [])
    role = Role(Config.model_validate({"alert": {"poll": "5s"}}), alerter, [], Telemetry("alert"))
    role.asking = listener = Listener()
    for second in range(0, 180, 5):
        asyncio.run(role.poll_once((START + second) * NS))
    assert (listener.asked, listener.maintenance_asked) == (3, 36)
    listener.is_away = True
    with pytest.raises(DependencyError):
        asyncio.run(role.poll_once((START + 180) * NS))
    listener.is_away = False
    asyncio.run(role.poll_once((START + 185) * NS))         # it was away: that minute has no answer yet
    assert listener.asked == 4


# --- the outbox file ---

def test_second_writer_is_refused_and_readers_are_not(outbox):
    with pytest.raises(DependencyError, match="another alert process uses") as caught:
        Outbox(outbox.path)
    assert caught.value.exit_status == 3
    Alerter([HOT], outbox, [HOOK]).take(0, 0, record(0, a=90), now(0))
    reader = Outbox(outbox.path, "read")
    assert reader.status()[0]["waiting"] == 1
    with pytest.raises(DependencyError, match="cannot be written: attempt to write a readonly database"):
        reader.revive("ops", 0)
    reader.close()


def test_outbox_that_is_absent_or_foreign_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no outbox can be read there"):
        Outbox(tmp_path / "absent.sqlite", "read")
    (tmp_path / "foreign.sqlite").write_bytes(b"no database at all, but long enough to look at" * 100)
    with pytest.raises(DependencyError, match="cannot be used"):
        Outbox(tmp_path / "foreign.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyError, match="cannot be used"):
        Outbox(tmp_path / "file" / "outbox.sqlite")


def test_outbox_of_another_format_is_refused(tmp_path):
    Outbox(tmp_path / "o.sqlite").close()
    database = sqlite3.connect(tmp_path / "o.sqlite")
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(DependencyError, match="has format 9; this program knows 1"):
        Outbox(tmp_path / "o.sqlite")


def test_only_the_owner_may_read_the_outbox(outbox):
    assert outbox.path.stat().st_mode & 0o077 == 0


def test_failed_commit_leaves_nothing_behind(outbox):
    alerter = Alerter([HOT], outbox, [HOOK])
    alerter.take(0, 0, record(0, a=20), now(0))
    before = outbox.rows()
    outbox.database.execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT raise(ABORT, 'disk full'); END")
    with pytest.raises(sqlite3.IntegrityError, match="disk full"):
        alerter.take(0, 1, record(1, a=90), now(1))
    assert (outbox.progress(), outbox.rows(), events_of(outbox)) == ({0: 0}, before, [])
    outbox.database.execute("DROP TRIGGER full")
    assert Alerter([HOT], outbox, [HOOK]).take(0, 1, record(1, a=90), now(1))


def test_what_is_done_and_old_is_forgotten(outbox):
    alerter = Alerter([HOT], outbox, [HOOK])
    alerter.take(0, 0, record(0, a=90), now(0))
    message = outbox.next_due("ops", now(0))
    outbox.delivered(message, now(0), 204, 1.0)
    outbox.published(number for number, _, _ in outbox.unpublished(10))
    outbox.recorded(attempt.number for attempt in outbox.unrecorded(10))
    counts = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM events), (SELECT count(*) FROM attempts)"
    outbox.prune(now(0) + 6 * 86_400 * NS)
    assert outbox.database.execute(counts).fetchone() == (1, 1, 1)
    outbox.prune(now(0) + 8 * 86_400 * NS)
    assert outbox.database.execute(counts).fetchone() == (0, 0, 0)


# --- kill -9 ---

ALERTER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from streams.alert import Alerter
    from streams.webhooks import Outbox
    from tests.test_alert import HOOK, HOT, SILENT, now, story

    alerter = Alerter([HOT, SILENT], Outbox(Path(sys.argv[1])), [HOOK])
    print("ready", flush=True)
    begin = alerter.applied.get(0, -1) + 1
    for offset, batch in enumerate(story()):
        if offset >= begin:
            alerter.take(0, offset, batch, now(offset))
            print(offset, flush=True)
    print("done", flush=True)
""")


def story() -> list[pa.RecordBatch]:
    dice = random.Random(11)
    return [record(n, **{f"e{e}": dice.choice((20, 20, 20, 90)) for e in range(8)}) for n in range(300)]


def test_killed_alerter_decides_everything_once(tmp_path):
    dice = random.Random(os.environ.get("SEED", "21"))
    print("seed: SEED=21 pytest tests/test_alert.py -k killed")
    straight = Outbox(tmp_path / "straight.sqlite")
    alerter = Alerter([HOT, SILENT], straight, [HOOK])
    for offset, batch in enumerate(story()):
        alerter.take(0, offset, batch, now(offset))

    environ = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'ext'}"}
    path, kills = tmp_path / "killed.sqlite", 0
    for _ in range(60):
        process = subprocess.Popen(
            [sys.executable, "-c", ALERTER, str(path)], env=environ, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        for _ in range(dice.randrange(1, 50)):
            line = process.stdout.readline()
            if line in ("done\n", ""):
                break
        process.send_signal(signal.SIGKILL)
        kills += 1
        process.wait(30)
        process.stdout.close()
        if line == "done\n":
            break
    assert line == "done\n"
    assert kills >= 8
    killed = Outbox(path)
    assert [row[1] for row in killed.unpublished(9999)] == [row[1] for row in straight.unpublished(9999)]
    assert events_of(killed) == events_of(straight)
    assert waiting(killed) == waiting(straight)
    assert len(waiting(killed)) > 100
    for box in (killed, straight):
        box.close()


POLLED = textwrap.dedent("""
    import sys
    from pathlib import Path
    from streams.alert import Alerter
    from streams.webhooks import Outbox
    from tests.test_alert import BURN, HOOK, live

    alerter = Alerter([BURN], Outbox(Path(sys.argv[1])), [HOOK])
    print("ready", flush=True)
    # The database is asked at once after a start: what it said last it says again.
    for minute in live(alerter, alerter.applied.get(0, -1)):
        print(minute, flush=True)
    print("done", flush=True)
""")
BURN = Rule("Burn:slo", "burn_rate", "burn_rate", for_ns=60 * NS, keep_firing_for_ns=60 * NS, poll=Levels("burn_rate"))


def answers() -> list[Answer]:
    dice = random.Random(12)
    found = []
    for _ in range(120):
        answer = Answer(BURN.name)
        for entity in range(6):
            verdict = dice.choice((1, 1, -1, 0))
            answer.add(f"e{entity}", float(verdict), verdict)
        found.append(answer)
    return found


def live(alerter: Alerter, heard: int):
    """Every minute a record of windows and an answer, from the minute that was heard last."""
    for minute, answer in enumerate(answers()):
        if minute < heard:
            continue
        alerter.take(0, minute, record(6 * minute, a=20), now(6 * minute))
        alerter.hear([answer], now(6 * minute), now(6 * minute))
        yield minute


def test_killed_alerter_decides_every_answer_once(tmp_path):
    dice = random.Random(int(os.environ.get("SEED", "22")))
    print("seed: SEED=22 pytest tests/test_alert.py -k every_answer")
    straight = Outbox(tmp_path / "straight.sqlite")
    assert len(list(live(Alerter([BURN], straight, [HOOK]), -1))) == 120
    environ = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'ext'}"}
    path, kills, line = tmp_path / "killed.sqlite", 0, ""
    while line != "done\n" and kills < 40:
        process = subprocess.Popen([sys.executable, "-c", POLLED, str(path)], env=environ, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        for _ in range(dice.randrange(5, 40)):
            line = process.stdout.readline()
            if line in ("done\n", ""):
                break
        process.send_signal(signal.SIGKILL)
        kills += 1
        process.wait(30)
        process.stdout.close()
    assert (line, kills >= 3) == ("done\n", True)
    killed = Outbox(path)

    def told(box):
        return [(identity, {**decode(content).to_pylist()[0], "at": None}) for _, identity, content in box.unpublished(9999)]

    assert told(killed) == told(straight)
    assert waiting(killed) == waiting(straight)
    assert len(waiting(killed)) > 20
    for box in (killed, straight):
        box.close()

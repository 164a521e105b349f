"""Deliveries against a real HTTP server: signed, at least once, in order, given up only when told so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from random import Random

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from streams.clock import NS
from streams.config import Secret
from streams.errors import ConfigError, DependencyError
from streams.webhooks import Outbox, Sender, receive_webhooks
from streams.webhooks.retry import CIRCUIT_FAILURES, circuit_pause_ns, retry_after_ns, retry_pause_ns
from streams.webhooks.sender import open_session, post
from streams.webhooks.signature import check_secret, signed_headers
from tests.webhook_server import SECRET, HandClock, Server, message, webhook

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(tmp_path / "alert" / "outbox.sqlite")
    yield box
    box.close()


def put(outbox, clock, *messages):
    outbox.commit({}, {}, [], messages, clock())


def deliver(outbox, clock, *webhooks):
    return Sender(outbox, webhooks, clock=clock, dice=Random(1)).deliver_due()


# --- delivery ---

def test_delivery_carries_a_signature_that_the_reference_library_accepts(outbox):
    async def story():
        clock = HandClock(time.time_ns())                   # the verifier looks at its own clock
        async with Server() as server:
            put(outbox, clock, message(1))
            assert await deliver(outbox, clock, server.webhook()) == 1
        return server
    server = asyncio.run(story())
    headers, body = server.got[0]
    assert Verifier(SECRET).verify(body, headers) == {"number": 1}
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == "msg_1"
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(body.replace(b"1", b"2"), headers)


def test_signature_equals_the_example_of_the_specification():
    # standardwebhooks spec, and the reference libraries' own tests: test_sign_function
    secret, webhook_id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    headers = signed_headers(secret, webhook_id, 1614265330 * NS, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_give_two_signatures_while_one_replaces_another():
    now_ns = time.time_ns()
    other = "whsec_b3RoZXI="
    headers = signed_headers(f"{other} {SECRET}", "msg_1", now_ns, b"{}")
    for secret in (SECRET, other):
        Verifier(secret).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_bm9uZQ==").verify(b"{}", headers)


def test_webhook_without_secret_is_not_signed(outbox):
    async def story():
        clock = HandClock()
        async with Server() as server:
            put(outbox, clock, message(1))
            await deliver(outbox, clock, server.webhook(secret=None))
        return server
    headers, _ = asyncio.run(story()).got[0]
    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_ä", "whsec_abc!d", " "])
def test_secret_that_cannot_sign_is_refused_at_start_without_showing_it(outbox, secret):
    with pytest.raises(ConfigError, match="the secret of webhook 'ops' is not base64") as caught:
        check_secret(secret, "ops")
    assert secret.strip("whsec_ ") not in str(caught.value) or not secret.strip("whsec_ ")

    async def story():
        await Sender(outbox, [webhook("http://127.0.0.1:9/", secret=Secret(secret))], clock=HandClock(), dice=Random(1)).start()
    with pytest.raises(ConfigError):
        asyncio.run(story())


# --- retries ---

def test_receiver_down_then_up_gets_everything_once_with_constant_ids(outbox):
    async def story():
        clock = HandClock()
        async with Server() as first:
            port = first.port
        hook = first.webhook()
        put(outbox, clock, message(1), message(2), message(3))
        for _ in range(5):
            await deliver(outbox, clock, hook)
            clock.pass_s(30)
        assert first.got == []
        assert outbox.status()[0]["waiting"] == 3
        assert "ClientConnectorError" in outbox.status()[0]["last_error"]
        async with Server(port=port) as second:
            clock.pass_s(300)
            await deliver(outbox, clock, hook)
            clock.pass_s(300)
            await deliver(outbox, clock, hook)
        return second
    assert asyncio.run(story()).ids == ["msg_1", "msg_2", "msg_3"]
    assert (outbox.status()[0]["waiting"], outbox.status()[0]["delivered"], outbox.status()[0]["failures"]) == (0, 3, 0)


def test_retries_send_the_same_id_and_body_with_a_new_timestamp(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=[500, 503, 204]) as server:
            put(outbox, clock, message(1))
            for _ in range(3):
                await deliver(outbox, clock, server.webhook())
                clock.pass_s(60)
        return server
    server = asyncio.run(story())
    assert server.ids == ["msg_1"] * 3
    assert len({body for _, body in server.got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in server.got}) == 3


def test_message_waits_out_its_pause(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=[500]) as server:
            put(outbox, clock, message(1))
            await deliver(outbox, clock, server.webhook())
            due_ns = outbox.next_due_ns("ops")
            clock.now_ns = due_ns - 1
            assert await deliver(outbox, clock, server.webhook()) == 0
            clock.now_ns = due_ns
            assert await deliver(outbox, clock, server.webhook()) == 1
    asyncio.run(story())


@pytest.mark.parametrize("header", ["120", "Fri, 15 Jan 2027 08:02:00 GMT"])
def test_retry_after_is_honoured_for_the_whole_webhook(outbox, header):
    async def story():
        clock = HandClock(1_800_000_000 * NS)               # 2027-01-15T08:00:00Z
        async with Server(answers=[(429, {"Retry-After": header}, "")]) as server:
            put(outbox, clock, message(1), message(2, lane="other"))
            assert await deliver(outbox, clock, server.webhook()) == 1
            clock.pass_s(119)
            assert await deliver(outbox, clock, server.webhook()) == 0
            clock.pass_s(1)
            assert await deliver(outbox, clock, server.webhook()) == 2
        return server
    assert asyncio.run(story()).ids == ["msg_1", "msg_1", "msg_2"]


def test_a_guest_finds_the_file_whatever_its_folder_is_called_and_is_told_when_it_cannot_write(tmp_path):
    path = tmp_path / "50% of #1?" / "outbox.sqlite"
    owner = Outbox(path)
    guest = Outbox(path, "write")
    try:
        assert guest.revive("ops", 0) == 0
        guest.database.execute("PRAGMA busy_timeout = 0")
        with owner.transaction(), pytest.raises(DependencyError, match="cannot be written: database is locked"):
            guest.revive("ops", 0)
    finally:
        guest.close()
        owner.close()


def test_message_becomes_a_dead_letter_after_max_attempts_and_can_be_revived(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=[500] * 3) as server:
            put(outbox, clock, message(1))
            for _ in range(6):
                await deliver(outbox, clock, server.webhook(max_attempts=3))
                clock.pass_s(600)
            assert len(server.got) == 3
            assert outbox.status()[0]["dead"] == 1
            assert outbox.revive("ops", clock()) == 1
            await deliver(outbox, clock, server.webhook(max_attempts=3))
        return server
    assert asyncio.run(story()).ids == ["msg_1"] * 4
    assert [attempt.outcome for attempt in outbox.unrecorded(10)] == ["retry", "retry", "dead", "delivered"]


@pytest.mark.parametrize("status", [400, 410, 413, 422])
def test_refused_body_is_given_up_at_once_and_does_not_close_the_circuit(outbox, status):
    async def story():
        clock = HandClock()
        async with Server(answers=[(status, {}, "no  such\nfield")]) as server:
            put(outbox, clock, message(1), message(2))
            await deliver(outbox, clock, server.webhook())
        return server
    assert asyncio.run(story()).ids == ["msg_1", "msg_2"]
    dead, delivered = outbox.unrecorded(10)
    assert (dead.outcome, dead.status, dead.error) == ("dead", status, f"HTTP {status}: no such field")
    assert (delivered.outcome, delivered.status, delivered.error) == ("delivered", 204, None)


def test_poison_message_holds_up_only_its_own_lane(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=[500]) as server:
            put(outbox, clock, message(1, "a"), message(2, "a"), message(3, "b"))
            await deliver(outbox, clock, server.webhook())
        return server
    assert asyncio.run(story()).ids == ["msg_1", "msg_3"]


def test_circuit_opens_after_failures_and_one_success_closes_it(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=[500] * CIRCUIT_FAILURES) as server:
            put(outbox, clock, *(message(n, lane=str(n)) for n in range(20)))
            assert await deliver(outbox, clock, server.webhook()) == CIRCUIT_FAILURES
            assert outbox.status()[0]["failures"] == CIRCUIT_FAILURES
            clock.pass_s(circuit_pause_ns(CIRCUIT_FAILURES) / NS - 0.001)
            assert await deliver(outbox, clock, server.webhook()) == 0
            clock.pass_s(0.001)
            assert await deliver(outbox, clock, server.webhook()) == 20
    asyncio.run(story())
    assert outbox.status()[0]["failures"] == 0


def test_hanging_receiver_costs_its_timeout_and_is_tried_again(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=["hang"]) as server:
            put(outbox, clock, message(1))
            await deliver(outbox, clock, server.webhook(timeout="50ms"))
            clock.pass_s(60)
            await deliver(outbox, clock, server.webhook())
        return server
    assert asyncio.run(story()).ids == ["msg_1", "msg_1"]
    assert outbox.unrecorded(1)[0].error == "no answer within 0.05 s"


def test_redirect_is_not_followed(outbox):
    async def story():
        clock = HandClock()
        async with Server() as target, Server() as server:
            server.answers.append((302, {"Location": f"http://127.0.0.1:{target.port}/"}, ""))
            put(outbox, clock, message(1))
            await deliver(outbox, clock, server.webhook())
        return target
    assert asyncio.run(story()).got == []
    assert outbox.unrecorded(1)[0].error == "HTTP 302: redirects are not followed; configure the receiver's own address"


def test_answer_without_end_is_not_read(outbox):
    async def story():
        clock = HandClock()
        async with Server(answers=[(500, {}, "x" * 5_000_000)]) as server:
            put(outbox, clock, message(1))
            await deliver(outbox, clock, server.webhook())
    asyncio.run(story())
    assert len(outbox.unrecorded(1)[0].error) <= 500


def test_messages_for_a_webhook_that_is_gone_become_dead_letters(outbox):
    async def story():
        clock = HandClock()
        put(outbox, clock, message(1), message(2, name="gone"))
        async with Server() as server:
            sender = Sender(outbox, [server.webhook()], clock=clock, dice=Random(1))
            await sender.start()
            await sender.stop()
    asyncio.run(story())
    assert next((row["webhook"], row["dead"]) for row in outbox.status()) == ("gone", 1)


def test_running_sender_is_woken_by_new_messages(outbox):
    async def story():
        clock, arrived = HandClock(), asyncio.Event()
        async with Server(on_request=arrived.set) as server:
            sender = Sender(outbox, [server.webhook()], clock=clock, dice=Random(1))
            await sender.start()
            for number in range(3):
                put(outbox, clock, message(number))
                arrived.clear()
                sender.wake()
                await asyncio.wait_for(arrived.wait(), 30)
            await sender.stop()
        return server
    assert asyncio.run(story()).ids == ["msg_0", "msg_1", "msg_2"]


# --- pure parts ---

def test_retry_pause_is_full_jitter_below_a_doubling_bound():
    dice = Random(7)
    for attempts in range(1, 40):
        pauses = [retry_pause_ns(attempts, dice) for _ in range(200)]
        bound = min(300, 2 ** (attempts - 1)) * NS
        assert all(0 <= pause < bound for pause in pauses)
        assert 0.35 * bound < sum(pauses) / len(pauses) < 0.65 * bound


@pytest.mark.parametrize(("header", "seconds"), [
    ("0", 0), ("7", 7), (" 7 ", 7), ("99999999999999999999", 86400), ("-5", 0), ("soon", 0), ("", 0), (None, 0), ("1.5", 0),
    ("Thu, 01 Jan 1970 00:01:40 GMT", 90), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Thu, 01 Jan 1970 00:01:40", 90),
    ("Fri, 99 Zzz 2026 99:99:99 GMT", 0), ("²", 0),
])
def test_retry_after_is_read_as_the_standard_says(header, seconds):
    assert retry_after_ns(header, now_ns=10 * NS) == seconds * NS


def test_circuit_pause_grows_to_a_bound():
    assert [circuit_pause_ns(failures) // NS for failures in (0, 4, 5, 6, 7, 50, 10**6)] == [0, 0, 5, 10, 20, 120, 120]


# --- what is kept ---

def test_what_is_done_is_kept_a_week_and_what_died_or_is_not_recorded_a_month(outbox):
    clock, day_ns = HandClock(), 86_400 * NS
    put(outbox, clock, message(1), message(2), message(3))
    outbox.delivered(outbox.next_due("ops", clock()), clock(), 204, 1.0)
    outbox.recorded(attempt.number for attempt in outbox.unrecorded(10))
    second = outbox.next_due("ops", clock())
    outbox.failed(second, clock(), 500, "HTTP 500", 1.0, due_ns=None, failures=1, closed_until_ns=0)

    def kept(after_ns):
        outbox.prune(clock() + after_ns)
        return [
            [value for (value,) in outbox.database.execute(query)]
            for query in ("SELECT state FROM messages ORDER BY number", "SELECT outcome FROM attempts ORDER BY number")
        ]
    assert kept(7 * day_ns) == [["delivered", "dead", "waiting"], ["delivered", "dead"]]
    assert kept(7 * day_ns + 1) == [["dead", "waiting"], ["dead"]]
    assert kept(30 * day_ns) == [["dead", "waiting"], ["dead"]]
    assert kept(30 * day_ns + 1) == [["waiting"], []]
    assert outbox.next_due("ops", clock()).webhook_id == "msg_3"


# --- kill -9 ---

SENDER = textwrap.dedent("""
    import asyncio, random, sys
    from streams.clock import wall_clock_ns
    from streams.webhooks import Outbox, Sender
    from tests.webhook_server import webhook

    async def main(path, url):
        sender = Sender(Outbox(path), [webhook(url)], clock=wall_clock_ns, dice=random.Random(1))
        await sender.start()
        await sender.watch(600)

    from pathlib import Path
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
""")


def start_sender(path: Path, url: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'ext'}"}
    return subprocess.Popen([sys.executable, "-c", SENDER, str(path), url], env=environ)


def test_kill_between_delivery_and_mark_delivers_again_with_the_same_id(tmp_path):
    path = tmp_path / "outbox.sqlite"
    outbox, clock = Outbox(path), HandClock(time.time_ns())
    put(outbox, clock, *(message(number) for number in range(6)))
    outbox.close()

    async def story():
        process = None
        kills_at = {1, 3, 4, 8, 10}                         # requests at whose arrival the sender dies, before its answer

        def kill():
            if len(server.got) in kills_at:
                process.send_signal(signal.SIGKILL)
        async with Server(on_request=kill) as server:
            for _ in kills_at:
                process = start_sender(path, f"http://127.0.0.1:{server.port}/")
                await asyncio.to_thread(process.wait, 60)
        return server

    ids = asyncio.run(story()).ids
    assert ids == ["msg_0", "msg_0", "msg_1", "msg_1", "msg_1", "msg_2", "msg_3", "msg_4", "msg_4", "msg_5"]


# --- the receiver of the demo ---

def test_receiver_shows_verified_deliveries_and_refuses_others():
    shown: list[str] = []
    payload = {"alerts": [{"status": "firing", "labels": {"alertname": "A", "entity": "e"}, "annotations": {"summary": "bad"}}]}

    async def story():
        receiver = await receive_webhooks("127.0.0.1", 0, SECRET, shown.append)
        good, bad = webhook(receiver.url), webhook(receiver.url, secret=Secret("whsec_b3RoZXI="))
        body = json.dumps(payload).encode()
        answers = []
        async with open_session(good) as session:
            for hook in (good, good, bad):
                answers.append((await post(session, hook, "msg_1", body, time.time_ns())).status)
        await receiver.stop()
        return answers, receiver.deliveries
    assert asyncio.run(story()) == ([204, 204, 401], 2)
    assert shown == [
        "FIRING A e: bad  [signature ok, msg_1]", "again: FIRING A e: bad  [signature ok, msg_1]",
        "refused: No matching signature found",
    ]

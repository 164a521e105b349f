"""`orbitrack alerts`: what is firing, what waits for which receiver; `test`, `retry` and `receive` around webhooks."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from streams.cli import pass_config
from streams.cli.tables import render
from streams.clock import format_time, wall_clock_ns
from streams.errors import InputError, OrbitrackError, UsageError, nearest

if TYPE_CHECKING:
    from streams.config import Config, Webhook

__all__ = ["command"]

FORMATS = ("table", "json")


@click.group(invoke_without_command=True)
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_context
def command(context: click.Context, form: str) -> None:
    """List alerts that are firing, suppressed or pending, and what waits for which webhook."""
    if context.invoked_subcommand is None:
        context.invoke(show, form=form)


@click.command(hidden=True)
@pass_config
def show(config: Config, form: str) -> None:
    from streams.clickhouse.alerts import present_alerts
    from streams.clickhouse.client import connect

    problem: OrbitrackError | None = None
    names: list[str] = []
    rows: list[list[Any]] = []
    try:
        with connect(config.database.dsn, **config.database.login) as client:
            names, rows = present_alerts(client)
    except OrbitrackError as error:                        # the outbox is a file here, and can be shown all the same
        problem = error
    deliveries = outbox_rows(config)
    if form == "json":
        alerts = [dict(zip(names, row, strict=True)) for row in rows] if problem is None else None
        click.echo(json.dumps({"alerts": alerts, "webhooks": deliveries}, ensure_ascii=False, indent=2))
    else:
        if problem is None:
            echo_table(names, rows, "no alert is firing, suppressed or pending")
        if deliveries is not None:
            click.echo()
            columns = list(deliveries[0]) if deliveries else []
            echo_table(columns, [list(row.values()) for row in deliveries], "no webhook was told anything")
    if problem is not None:
        raise problem


def echo_table(names: list[str], rows: list[list[Any]], nothing: str) -> None:
    if not rows:
        click.echo(nothing)
    for line in render(names, rows, "table") if rows else ():
        click.echo(line)


def outbox_rows(config: Config) -> list[dict[str, Any]] | None:
    """The outbox by webhook; None where it is not on this machine."""
    from streams.alert import outbox_path
    from streams.webhooks import Outbox

    try:
        outbox = Outbox(outbox_path(config), "read")
    except InputError:
        return None
    with closing(outbox):
        rows = outbox.status()
    for row in rows:
        oldest_ns = row.pop("oldest_ns")
        row["oldest"] = None if oldest_ns is None else format_time(oldest_ns, 0)
    return rows


def webhook_named(config: Config, name: str) -> Webhook:
    names = [webhook.name for webhook in config.webhooks]
    if name not in names:
        near = nearest(name, names)
        hint = f"did you mean '{near}'?" if near else f"configured: {' '.join(names) or 'none (which file? see -c)'}"
        raise UsageError(f"no [[webhook]] is named '{name}'\n  hint: {hint}")
    return config.webhooks[names.index(name)]


@command.command(short_help="Send WEBHOOK a test alert.")
@click.argument("name", metavar="WEBHOOK")
@pass_config
def test(config: Config, name: str) -> None:
    """Send WEBHOOK one firing and one resolved test alert, and say what it answers."""
    from streams.webhooks import check_webhooks
    from streams.webhooks.payloads import PAYLOADS, Notice
    from streams.webhooks.sender import open_session, post

    webhook = webhook_named(config, name)
    check_webhooks([webhook])
    labels = {"alertname": "OrbitrackTest", "entity": "test", "metric": "test", "severity": "info"}
    summary = {"summary": "This is a test by `orbitrack alerts test`"}

    async def send() -> bool:
        async with open_session(webhook) as session:
            for state, ends_ns in (("firing", None), ("resolved", wall_clock_ns())):
                now_ns = wall_clock_ns()
                notice = Notice(now_ns, "OrbitrackTest", 0, 1, state, labels, summary, 1.0, now_ns, ends_ns, None)
                webhook_id = f"msg_test_{secrets.token_hex(8)}"
                answer = await post(session, webhook, webhook_id, PAYLOADS[webhook.format](webhook, [notice]), now_ns)
                outcome = f"HTTP {answer.status}" if answer.error is None else answer.error
                click.echo(f"{state}: {outcome} ({answer.latency_ms:.0f} ms, {webhook_id})")
                if answer.error is not None:
                    return False
        return True

    if not asyncio.run(send()):
        raise InputError(f"webhook '{name}' did not take it; [[webhook]] url is {webhook.url}")


@command.command()
@click.argument("name", metavar="WEBHOOK")
@pass_config
def retry(config: Config, name: str) -> None:
    """Give the dead letters of WEBHOOK another round of attempts."""
    from streams.alert import outbox_path
    from streams.webhooks import Outbox

    webhook = webhook_named(config, name)
    with closing(Outbox(outbox_path(config), "write")) as outbox:
        number = outbox.revive(webhook.name, wall_clock_ns())
    click.echo(f"{number} messages will be tried again")


@command.command(short_help="Be a receiver that verifies and prints.")
@click.option("--listen", default="127.0.0.1:9911", show_default=True, metavar="HOST:PORT")
@click.option("--secret", required=True, envvar="ORBITRACK_WEBHOOK_SECRET", help="whsec_...; $ORBITRACK_WEBHOOK_SECRET.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N deliveries.")
def receive(listen: str, secret: str, count: int | None) -> None:
    """Be a receiver: verify signatures and print what comes, until Ctrl-C."""
    from streams.addresses import parse_address
    from streams.webhooks import receive_webhooks
    from streams.webhooks.signature import check_secret

    try:
        address = parse_address(listen, schemes=("", "http"))
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from error
    check_secret(secret, "--secret")

    async def serve() -> None:
        done = asyncio.Event()

        def show_line(line: str) -> None:
            click.echo(line)
            if count is not None and receiver.deliveries >= count:
                done.set()

        receiver = await receive_webhooks(address.host, address.port, secret, show_line)
        click.echo(f"receiving on {receiver.url}", err=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, done.set)
        try:
            await done.wait()
        finally:
            await receiver.stop()

    asyncio.run(serve())

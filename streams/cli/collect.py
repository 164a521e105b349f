"""`orbitrack collect`: the role that receives."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from streams.cli import current_session, pass_config
from streams.cli.logs import set_up_logging
from streams.collectors.collector import Collector, connect_to
from streams.telemetry import Telemetry

if TYPE_CHECKING:
    from streams.config import Config

__all__ = ["command"]

log = logging.getLogger(__name__)

LINE_EVERY_S = 1.0              # on a terminal
LOG_EVERY_S = 60.0              # elsewhere


@click.command()
@pass_config
def command(config: Config) -> None:
    """Receive the frames of every link that has `listen` and put them into Kafka.

    Listens at once and waits for Kafka, holding frames up to [collector] buffer_bytes; more datagrams are dropped and
    counted, TCP senders are held back. SIGTERM, Ctrl-C and the end of the terminal seal, flush and end.
    """
    log_format = current_session().log_format
    set_up_logging(log_format)
    asyncio.run(collect(config, is_terminal=log_format == "text" and sys.stderr.isatty()))


async def collect(config: Config, is_terminal: bool) -> None:
    telemetry = Telemetry("collect")
    collector = Collector(config, telemetry, connect_to(config.kafka))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:       # ignored: started with nohup
            loop.add_signal_handler(number, stop.set)
    await telemetry.start(config.metrics.listen["collect"])
    try:
        await collector.start()
        showing = asyncio.create_task(show_progress(collector, is_terminal))
        try:
            await collector.run(stop)
        finally:
            showing.cancel()
            await collector.finish()
            log.info("ended: %s", summary(collector))
    finally:
        await telemetry.stop()


async def show_progress(collector: Collector, is_terminal: bool) -> None:
    every_s = LINE_EVERY_S if is_terminal else LOG_EVERY_S
    before, before_s = 0, time.monotonic()
    while True:
        await asyncio.sleep(every_s)
        received, now_s = collector.losses.total("received"), time.monotonic()
        line = f"{(received - before) / (now_s - before_s):,.0f} frames/s; {summary(collector)}"
        before, before_s = received, now_s
        if is_terminal:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        else:
            log.info(line)


def summary(collector: Collector) -> str:
    losses = collector.losses
    dropped = losses.total("buffer_full") + losses.total("shutdown")
    on_disk = f"{collector.spill.size_bytes / 1e6:.1f} MB on disk, " if collector.spill else ""
    return (
        f"{losses.total('received'):,} received, {dropped:,} shed, {losses.total('kernel'):,} dropped by the kernel, "
        f"{losses.total('refused'):,} refused, {losses.total('rate_limited'):,} beyond their rate, "
        f"{collector.intake.held_bytes / 1e6:.1f} MB on the way, {on_disk}"
        f"Kafka {'up' if collector.delivery.kafka.is_up else 'away'}"
    )

"""`orbitrack replay`: captures into Kafka as a collector would, or to a socket."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli import current_session
from streams.cli.links import link_from_options, link_options, total_bytes
from streams.cli.progress import Progress, show_progress
from streams.errors import UsageError, nearest

if TYPE_CHECKING:
    from streams.config import Link
    from streams.replay import Pace, Target

__all__ = ["command"]


@click.command()
@link_options
@click.option("--link", "link_name", metavar="NAME", help="The [[link]] they belong to; default: the codec's only one.")
@click.option("--rate", default="original", show_default=True, metavar="original|max|N", help="N in frames a second.")
@click.option("--to", "destination", default="kafka", show_default=True, metavar="kafka|udp://HOST:PORT|tcp://HOST:PORT")
@click.option("--received", type=click.Choice(["capture", "now"]), default="capture", show_default=True, help="Receive time.")
@click.option("--loop", "loops", type=click.IntRange(1), default=1, metavar="N", help="Send everything N times.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE...")
def command(
    link_name: str | None, rate: str, destination: str, received: str, loops: int, files: tuple[Path, ...], port: int | None,
    **options: Any,
) -> None:
    """Send what FILEs hold (pcap, pcapng or raw bytes) once more.

    A file without receive times has no original rate and is sent as fast as possible; its receive times stay unknown, and
    the device's own time is then trusted.
    """
    pace = pace_of(rate)
    if loops > 1 and any(str(file) == "-" for file in files):
        raise UsageError("--loop: standard input can be read only once")
    link = link_of(link_name, options, needs_configuration=destination == "kafka")
    target = target_of(destination, link)
    total = total_bytes(files)
    with show_progress("replay", total * loops if total is not None else None) as progress:
        asyncio.run(send_all(files, link, port or 0, loops, target, pace, received == "now", progress))
    if current_session().log_format == "json":
        return                                          # its last line of progress has said it
    rates = progress.rates
    done = f"{progress.frames} frames from {progress.bytes} bytes"
    click.echo(f"{done} in {rates['seconds']:.1f} s: {rates['frames_per_s']:.0f} frames/s", err=True)


async def send_all(
    files: tuple[Path, ...], link: Link, port: int, loops: int, target: Target, pace: Pace, is_now: bool, progress: Progress
) -> None:
    from streams.captures import PIECE_BYTES
    from streams.clock import wall_clock_ns
    from streams.replay import SLOW_PIECE_BYTES, read_frames, replay

    partitions = current_session().config.kafka.partitions
    is_paced = pace.original or pace.per_second is not None
    # At full speed enough is read at once to fill a batch of every partition.
    piece_bytes = SLOW_PIECE_BYTES if is_paced else min(partitions, 4) * PIECE_BYTES
    await target.start()
    try:
        frames = read_frames(files, link, port=port, partitions=partitions, loops=loops, piece_bytes=piece_bytes)
        async for sent, read_bytes in replay(
            frames, target, pace, time.monotonic_ns, received_now=wall_clock_ns if is_now else None
        ):
            progress.advance(read_bytes, sent)
    finally:
        await target.stop()


def pace_of(rate: str) -> Pace:
    from streams.replay import Pace

    if rate in ("original", "max"):
        return Pace(original=rate == "original")
    try:
        per_second = float(rate)
    except ValueError:
        per_second = 0
    if not 0 < per_second < 1e12:
        raise UsageError(f"--rate: '{rate}' is not original, max or a number of frames a second")
    return Pace(per_second=per_second)


def link_of(name: str | None, options: dict[str, Any], *, needs_configuration: bool) -> Link:
    """The configured link. To a socket any frames can go, so there one may be made up from the options."""
    config = current_session().config
    codec = options["codec"]
    if name is not None:
        link = config.link(name)
        if link is None and needs_configuration:
            names = [each.name for each in config.links]
            match = nearest(name, names)
            hint = f"did you mean '{match}'?" if match else f"configured are: {', '.join(names) or 'none'}"
            raise UsageError(f"--link: no [[link]] is named '{name}'\n  hint: {hint}")
        if link is not None and link.codec != codec:
            raise UsageError(f"--link: '{name}' is configured with codec {link.codec}, not {codec}")
        return link or link_from_options(options, name)
    fitting = [link for link in config.links if link.codec == codec]
    if len(fitting) == 1:
        return fitting[0]
    if not needs_configuration:
        return link_from_options(options)
    if fitting:
        raise UsageError(f"--link: which of {', '.join(link.name for link in fitting)}?")
    raise UsageError(f"no [[link]] has codec {codec}\n  hint: add one to the configuration, a worker refuses unknown links")


def target_of(destination: str, link: Link) -> Target:
    from streams.addresses import parse_address
    from streams.replay import KafkaTarget, TcpTarget, UdpTarget

    if destination == "kafka":
        return KafkaTarget(current_session().config, link)
    try:
        address = parse_address(destination, schemes=("udp", "tcp"))
    except ValueError as error:
        raise UsageError(f"--to: {error}") from None
    return UdpTarget(address) if address.scheme == "udp" else TcpTarget(address)

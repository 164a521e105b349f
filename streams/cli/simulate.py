"""`orbitrack simulate`: a made-up fleet over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from streams.addresses import Address, parse_address
from streams.cli import current_session
from streams.clock import NS, parse_duration_ns, wall_clock_ns
from streams.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from streams.config import Config
    from streams.simulate import Account, Fleet, Frames
    from streams.simulate.resume import Kept

__all__ = ["command"]

FLOWS_PER_S, PACKETS_PER_S = 20.0, 10.0         # of a rack, of a spacecraft, at --rate 1
RECONNECT_S = 0.5
DRAIN_S = 10.0                  # a receiver that reads nothing for so long is gone
SENDER_ADDRESSES = 200          # racks send from 127.0.1.1, .2, ... when they send to 127.0.0.0/8
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@click.command()
@click.option("--racks", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Switches that send sFlow.")
@click.option("--satellites", type=click.IntRange(0, 1000), default=3, show_default=True, help="Spacecraft that send packets.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed makes the same fleet.")
@click.option("--duration", metavar="TIME", help="Such as 60s; default: until Ctrl-C.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, metavar="FACTOR",
              help="Times 20 flow samples a second and rack, 10 packets a second and spacecraft.")
@click.option("--faults", type=click.FloatRange(0), default=1.0, show_default=True, metavar="FACTOR",
              help="Times the usual loss, doubling, overtaking and corruption; 0 for none.")
@click.option("--to-udp", metavar="HOST:PORT", help="Where racks send; default: the sflow link of the configuration.")
@click.option("--to-tcp", metavar="HOST:PORT", help="Where the first spacecraft sends, the next to PORT+1 and so on.")
@click.option("--account", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write what was made, lost, spoiled and sent as JSON.")
@click.option("--resume", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Go on where the run before with this FILE ended: the same fleet, with the next sequence numbers.")
def command(
    racks: int, satellites: int, seed: int, duration: str | None, rate: float, faults: float, to_udp: str | None,
    to_tcp: str | None, account: Path | None, resume: Path | None,
) -> None:
    """Send the frames of a made-up fleet, with loss, overtaking, corruption and incidents, to a collector.

    With --to-udp or --to-tcp only what they name is sent; without, the links of the configuration that have `listen`.
    """
    try:
        duration_ns = parse_duration_ns(duration) if duration else None
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from error
    session = current_session()
    try:
        from streams.simulate import RACK_FAULTS, SATELLITE_FAULTS, STEP_NS, Fleet, Size
        from streams.simulate.resume import NEW_FLEET, Kept, read_kept
    except ModuleNotFoundError as error:
        raise UsageError(f"the simulator needs {error.name}\n  hint: pip install 'orbitrack[embedded]'") from error
    made = None if resume is None else read_kept(resume)
    if made is not None:
        refuse_others(made, resume)
        racks, satellites = made.size.racks, made.size.satellites
    udp, tcp = targets(None if to_udp or to_tcp else session.config, to_udp, to_tcp, satellites)
    if made is None:
        size = Size(racks if udp else 0, len(tcp), flows_per_s=FLOWS_PER_S * rate, packets_per_s=PACKETS_PER_S * rate)
        made = Kept(size, seed, 0)
    elif (racks and udp is None) or len(tcp) < satellites:
        what = f"kept by a fleet of {racks} racks and {satellites} satellites; there are links for fewer"
        raise UsageError(f"--resume {resume}: {what}\n  hint: {NEW_FLEET}")
    fleet = Fleet(made.size, made.seed, wall_clock_ns() - made.steps * STEP_NS, rack_faults=RACK_FAULTS.scaled(faults),
                  satellite_faults=SATELLITE_FAULTS.scaled(faults), steps=made.steps)
    is_json = session.log_format == "json"
    asyncio.run(simulate(fleet, udp, tcp, duration_ns, is_terminal=not is_json and sys.stderr.isatty(), resume=resume))
    result = {name: each.as_dict() for name, each in fleet.account.items()}
    if account is not None:
        write_account(account, {"seed": made.seed, "start_ns": fleet.start_ns, "account": result})
    click.echo(json.dumps({"seed": made.seed, "account": result}) if is_json else account_text(fleet.account))


def write_account(file: Path, account: dict[str, Any]) -> None:
    try:
        file.write_text(json.dumps(account, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"--account {file}: cannot be written: {error.strerror}") from error


def targets(
    config: Config | None, to_udp: str | None, to_tcp: str | None, satellites: int
) -> tuple[Address | None, list[Address]]:
    """Where racks and where each spacecraft sends. UsageError where that cannot be told."""
    try:
        udp = parse_address(to_udp, schemes=("", "udp")) if to_udp else None
        first = parse_address(to_tcp, schemes=("", "tcp")) if to_tcp else None
    except ValueError as error:
        raise UsageError(f"--to-udp, --to-tcp: {error}") from error
    if config is None:
        return udp, [Address(first.host, first.port + number) for number in range(satellites)] if first else []
    listening = [(link.codec, parse_address(link.listen)) for link in config.links if link.listen]
    racks = [address for codec, address in listening if codec == "sflow"]
    spacecraft = [address for codec, address in listening if codec == "ccsds-packets" and address.scheme == "tcp"]
    if not racks and not spacecraft:
        raise UsageError("no sflow or ccsds-packets link of the configuration listens\n  hint: give --to-udp or --to-tcp")
    here = [Address(ANY.get(address.host, address.host), address.port) for address in (*racks[:1], *spacecraft[:satellites])]
    return (here[0], here[1:]) if racks else (None, here)


def refuse_others(kept: Kept, file: Path | None) -> None:
    """A fleet goes on as it was, whatever sizes are usual by now. UsageError where the command line asks for other ones."""
    from streams.simulate.resume import NEW_FLEET

    context, size = click.get_current_context(), kept.size
    own = {"racks": size.racks, "satellites": size.satellites, "seed": kept.seed, "rate": size.packets_per_s / PACKETS_PER_S}
    for name, value in own.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and context.params[name] != value:
            what = f"kept by another fleet, of --{name} {value:g}"
            raise UsageError(f"--resume {file}: {what}\n  hint: leave --{name} out, and it goes on; or {NEW_FLEET}")


async def simulate(
    fleet: Fleet, udp: Address | None, tcp: list[Address], duration_ns: int | None, is_terminal: bool,
    resume: Path | None = None,
) -> None:
    from streams.simulate.resume import keep

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    end_ns = None if duration_ns is None else fleet.begin_ns + duration_ns
    racks = Datagrams(udp, fleet.account["racks"]) if udp else None
    streams = [Stream(address, fleet.account[name]) for address, name in zip(tcp, fleet.satellites.names, strict=True)]
    connecting = [asyncio.create_task(stream.stay_connected()) for stream in streams]
    try:
        # Whoever starts a collector and a simulator together shall not lose the first packets.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(stream.connected.wait() for stream in streams)), RECONNECT_S)
        is_last = False
        while not is_last:
            now_ns = wall_clock_ns()
            is_last = stop.is_set() or (end_ns is not None and now_ns >= end_ns)
            datagrams, packets = fleet.advance(now_ns if end_ns is None else min(now_ns, end_ns))
            if resume is not None:
                keep(resume, fleet)
            if racks is not None:
                racks.send(datagrams)
                if is_last:
                    racks.send(fleet.finish())
            await asyncio.gather(*(stream.send(each) for stream, each in zip(streams, packets, strict=True)))
            if is_terminal:
                click.echo(f"\r\x1b[K{progress_text(fleet, now_ns)}", nl=False, err=True)
            if not is_last:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), fleet.step_ns / NS)
    finally:
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        for stream in streams:
            await stream.close()
        if racks is not None:
            racks.close()
        if is_terminal:
            click.echo(err=True)


def progress_text(fleet: Fleet, now_ns: int) -> str:
    sent, unsent = (sum(getattr(each, name) for each in fleet.account.values()) for name in ("sent", "unsent"))
    return f"{(now_ns - fleet.begin_ns) / NS:.0f} s: {sent:,} sent, {unsent:,} not taken"


class Datagrams:
    """A socket for each rack, up to SENDER_ADDRESSES; on loopback each with an address of its own.

    DependencyError for a name that nobody knows, and for an address that cannot be reached.
    """

    def __init__(self, target: Address, account: Account) -> None:
        self.target, self.account = target, account
        self.sockets: dict[int, socket.socket] = {}
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise self.unreachable(error) from error
        self.family: socket.AddressFamily = found[0]
        self.place: Any = found[4]
        self.is_loopback = self.family == socket.AF_INET and ipaddress.ip_address(self.place[0]) in LOOPBACK

    def socket_of(self, source: int) -> socket.socket:
        number = source % SENDER_ADDRESSES
        if number not in self.sockets:
            sock = self.sockets[number] = socket.socket(self.family, socket.SOCK_DGRAM)
            if self.is_loopback:
                sock.bind((f"127.0.1.{number + 1}", 0))
            try:
                sock.connect(self.place)
            except OSError as error:
                raise self.unreachable(error) from error
        return self.sockets[number]

    def unreachable(self, error: OSError) -> DependencyError:
        return DependencyError(f"{self.target}: {error.strerror or error}", retryable=False)

    def send(self, frames: Frames) -> None:
        for row, source in enumerate(frames.source.tolist()):
            sock, datagram = self.socket_of(source), frames.frame(row)
            try:
                sock.send(datagram)
            except ConnectionRefusedError:
                # It tells of the one before, which nobody took; this one was not sent yet.
                self.not_taken(1)
                with contextlib.suppress(ConnectionRefusedError):
                    sock.send(datagram)

    def not_taken(self, datagrams: int) -> None:
        self.account.sent -= datagrams
        self.account.unsent += datagrams

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()


class Stream:
    """The connection of one spacecraft's ground station. While there is none, packets are lost and counted as not taken."""

    def __init__(self, target: Address, account: Account) -> None:
        self.target, self.account = target, account
        self.writer: asyncio.StreamWriter | None = None
        self.connected = asyncio.Event()

    async def stay_connected(self) -> None:
        while True:
            if self.writer is None:
                with contextlib.suppress(OSError):
                    _, self.writer = await asyncio.open_connection(self.target.host, self.target.port)
                    self.connected.set()
            await asyncio.sleep(RECONNECT_S)

    async def send(self, frames: Frames) -> None:
        if len(frames) == 0:
            return
        if self.writer is not None:
            try:
                self.writer.write(frames.packed().data.tobytes())
                await asyncio.wait_for(self.writer.drain(), DRAIN_S)
                return
            except (OSError, TimeoutError):
                self.writer.transport.abort()
                self.writer = None
        self.account.sent -= len(frames)
        self.account.unsent += len(frames)

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self.writer.wait_closed(), DRAIN_S)


def account_text(account: dict[str, Account]) -> str:
    columns = ("made", "lost", "duplicated", "reordered", "sent", "unsent")
    lines = [f"{'':8}" + "".join(f"{name:>12}" for name in columns) + f"{'corrupted':>12}"]
    for name, each in account.items():
        values: list[Any] = [getattr(each, column) for column in columns]
        spoiled = sum(count for what, count in each.corrupted.items() if not what.endswith("_bytes"))
        lines.append(f"{name:8}" + "".join(f"{value:12,}" for value in (*values, spoiled)))
    return "\n".join(lines)

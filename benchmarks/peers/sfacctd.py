"""sFlow counters as pmacct's sfacctd (Debian package `pmacct`), a collector in C, writes them: a line of JSON a structure.

Version 1.7.7 reads a capture to its end and stops.
"""

from __future__ import annotations

import json
import resource
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_installed", "read_counters"]

PROGRAM = shutil.which("sfacctd", path="/usr/sbin:/usr/bin")
TIMEOUT_S = 120


def is_installed() -> bool:
    return PROGRAM is not None


def write_capture(path: Path, datagrams: Iterable[bytes]) -> None:
    """A classic pcap: each datagram from 10.1.2.3 to 10.0.0.1, port 6343, over Ethernet."""
    with path.open("wb") as capture:
        capture.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for datagram in datagrams:
            udp = struct.pack(">HHHH", 6343, 6343, 8 + len(datagram), 0) + datagram
            ip = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, 0x0A010203, 0x0A000001) + udp
            packet = bytes(12) + b"\x08\x00" + ip
            capture.write(struct.pack("<IIII", 1_700_000_000, 0, len(packet), len(packet)) + packet)


def read_counters(datagrams: Iterable[bytes]) -> tuple[list[dict[str, Any]], float]:
    """What it writes of the counters in `datagrams`, and the CPU time it used, its start included."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_capture(place / "in.pcap", datagrams)
        settings = {
            "daemonize": "false", "pcap_savefile": place / "in.pcap", "plugins": "print", "print_output_file": place / "flows",
            "print_refresh_time": 3600, "sfacctd_counter_file": place / "counters", "sfacctd_counter_output": "json",
        }  # fmt: skip
        (place / "sfacctd.conf").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([PROGRAM, "-f", place / "sfacctd.conf"], check=True, capture_output=True, timeout=TIMEOUT_S)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        written = [json.loads(line) for line in (place / "counters").read_text().splitlines()]
    used_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return [line for line in written if line["event_type"] == "log"], used_s

"""Communications link control words (232.0-B 4.2.1) as samples, beside words taken apart by hand."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from framecodec.frames import FrameDecoder
from streams.config import Config, Link
from streams.decode import open_decoder
from streams.pipeline import Pipeline
from tests import satellite
from tests.conftest import testdata
from tests.oracle import frames as oracle

FLAGS = ("clcw_no_rf_available", "clcw_no_bit_lock", "clcw_lockout", "clcw_wait", "clcw_retransmit")
NAMES = (*FLAGS, "clcw_farm_b_counter", "clcw_report_value")
SECOND = 10**9
WINDOW = 10 * SECOND
START = 1_790_000_000 * SECOND
Told = list[tuple[int | None, str, str, float]]


def word(vcid: int = 0, flags: int = 0, farm_b: int = 0, report: int = 0, first: int = 1) -> bytes:
    """`flags`: no RF available, no bit lock, lockout, wait, retransmit, the first one highest; `first`: type to COP."""
    return bytes([first, vcid << 2, (flags << 3) | (farm_b << 1), report])


def fields(ocf: bytes) -> dict[str, int]:
    bits = f"{int.from_bytes(ocf, 'big'):032b}"
    return dict(zip(NAMES, [*map(int, bits[16:21]), int(bits[21:23], 2), int(bits[24:], 2)], strict=True))


def expected(received: Iterable[tuple[int | None, bytes]], spacecraft: str = "SAT") -> Told:
    """The rule of docs/frames.md, frame by frame."""
    told: Told = []
    last: dict[int, tuple[int | None, dict[str, int]]] = {}
    for time, ocf in received:
        if ocf[0] & 0xE3 != 1:                                # type and version 0, COP-1
            continue
        vcid, window = ocf[1] >> 2, None if time is None else time // WINDOW
        known = last.get(vcid)
        for name, value in fields(ocf).items():
            if known is None or known[0] != window or known[1][name] != value:
                told.append((time, f"{spacecraft}/vc/{vcid}", name, float(value)))
        last[vcid] = window, fields(ocf)
    return told


def samples(batches: Iterable[pa.RecordBatch]) -> Told:
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [(row["received"] and row["received"].value, row["entity"], row["metric"], row["value"]) for row in rows]


def link(**keys: Any) -> Link:
    return Link.model_validate({"name": "link", "spacecraft": "SAT", **keys}, context={"base": Path.cwd(), "environ": {}})


def changing(count: int, seed: int) -> list[bytes]:
    """Words of two telecommand channels in turn; in between zeros, other types, versions and COPs."""
    rng = random.Random(seed)
    held = [word(0), word(5, 1)]
    words = []
    for index in range(count):
        which = index % 2
        if rng.random() < 0.1:
            held[which] = word(5 * which, rng.choice((0, 4, 4, 24)), rng.randrange(4), rng.randrange(256))
        words.append(rng.choice([bytes(4), word(7, first=0x81), word(7, first=0x21), word(7, first=2)])
                     if rng.random() < 0.1 else held[which])  # fmt: skip
    return words


def made(kind: str, words: list[bytes]) -> list[bytes]:
    """A frame for each word."""
    rng = random.Random(1)
    frames = []
    for count, ocf in enumerate(words):
        packet = [oracle.packet(9, count, rng.randbytes(40))]
        if kind == "tm":
            frames += oracle.tm_frames(packet, 58, fecf=2, ocf=ocf, count=count)
        elif kind == "aos":
            frames += oracle.aos_frames(packet, 60, fecf=2, ocf=ocf, count=count)
        else:
            frames += oracle.uslp_frames(packet, 46, fecf=2, ocf=ocf, count=count)
    assert len(frames) == len(words)
    return frames


@pytest.mark.parametrize("kind", ["tm", "aos", "uslp"])
def test_changes_are_told_and_all_of_it_once_a_window(kind: str) -> None:
    words = changing(400, seed=5)
    frames = made(kind, words)
    times = [START + index * SECOND // 7 for index in range(len(words))]
    received = list(zip(times, frames, strict=True))
    wanted = expected(zip(times, words, strict=True))
    options = {"codec": kind, "frame_length": len(frames[0]), "ocf": True, "fecf": True}

    whole = open_decoder(link(**options)).decode(satellite.frames([(time, "10.0.0.1", data) for time, data in received]))
    assert samples(whole.samples) == wanted
    assert len(wanted) < len(words)                           # no flood: 14 a window, and what changes
    assert {row["unit"] for row in whole.samples[0].to_pylist()} == {None}

    decoder, told = open_decoder(link(**options)), []
    for at in range(0, len(received), 3):
        part = decoder.decode(satellite.frames([(time, "10.0.0.1", data) for time, data in received[at : at + 3]]))
        told += samples(part.samples)
        state = decoder.snapshot()
        decoder = open_decoder(link(**options))
        decoder.restore(state)
        assert decoder.snapshot() == state
    assert told == wanted


def test_every_window_has_the_state_that_lasts() -> None:
    """Locked out for 25 s without a change: three windows say so, which an alert rule on `vlast` sees."""
    frames = made("tm", [word(flags=4)] * 50)
    settings = {"name": "link", "codec": "tm", "frame_length": len(frames[0]), "spacecraft": "SAT"}
    pipeline = Pipeline(Config.model_validate({"link": [settings]}))
    received = [(START // WINDOW * WINDOW + index * SECOND // 2, "10.0.0.1", data) for index, data in enumerate(frames)]
    pipeline.feed(satellite.frames(received), START)
    windows = [row for batch in pipeline.close(1 << 62, 1).windows for row in batch.to_pylist()]
    locked = [(row["entity"], row["cnt"], row["vlast"]) for row in windows if row["metric"] == "clcw_lockout"]
    assert locked == [("SAT/vc/0", 1, 1.0)] * 3


def test_without_receive_times_only_changes_are_told() -> None:
    words = changing(300, seed=6)
    frames = made("tm", words)
    decoder = FrameDecoder("tm", len(frames[0]), spacecraft="SAT", boundaries="stream", emit=("samples",))
    assert samples(decoder.decode_bytes(b"".join(frames)).samples) == expected((None, each) for each in words)
    decoder.finish()                                          # a file is over: the next one begins anew
    assert samples(decoder.decode_bytes(frames[0]).samples) == expected([(None, words[0])])


def test_bad_and_repeated_frames_say_nothing() -> None:
    frames = made("tm", [word(report=1), word(report=2), word(report=3)])
    bad = frames[1][:-1] + bytes([frames[1][-1] ^ 1])
    decoder = FrameDecoder("tm", len(frames[0]), spacecraft="SAT", boundaries="stream")
    told = samples(decoder.decode_bytes(frames[0] + bad + frames[0] + frames[2]).samples)
    assert [value for _, _, name, value in told if name == "clcw_report_value"] == [1.0, 3.0]


def test_frames_without_an_operational_control_field_have_none() -> None:
    [frame] = oracle.tm_frames([oracle.packet(9, 0, bytes(44))], 58, fecf=2)
    decoder = FrameDecoder("tm", 58, boundaries="stream")
    assert decoder.decode_bytes(frame).samples == []


def test_equuleus_reports_its_telecommand_channel() -> None:
    """All but one frame in twenty carry the same word; idle frames zeros, and two frames are none."""
    data = testdata("frames", "equuleus_aos_ocf_444.u8").read_bytes()
    decoder = FrameDecoder("aos", 444, ocf=True, spacecraft="SAT", boundaries="stream", emit=("samples",))
    told = samples(decoder.decode_bytes(data).samples)
    words = [data[at + 440 : at + 444] for at in range(0, len(data) - 443, 444)]
    assert told == expected((None, each) for each in words)
    assert [(entity, name, value) for _, entity, name, value in told] == [
        ("SAT/vc/0", name, float(value)) for name, value in zip(NAMES, (0, 0, 0, 0, 0, 2, 225), strict=True)
    ]

"""Parcels on disk come back as they were, in order, also after a kill: streams.collectors.spill."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pytest

from framecodec.batches import Batches
from streams.collectors.batches import Lane, Parcel
from streams.collectors.spill import Spill
from streams.errors import DependencyError, OrbitrackError
from streams.repeats import Stamp


def parcel(number: int, run: str = "run", size: int = 1000, link: str = "racks") -> Parcel:
    batches = Batches(link, "sflow", 1)
    batches.add([number.to_bytes(4, "big") + bytes((7 * number + n) * n % 251 for n in range(size))], "10.0.0.1", number, 0)
    [(_, memory_bytes, batch)] = batches.seal(0, everything=True)
    return Parcel(Lane(link, "frames.rack"), number % 3, pa.record_batch(batch), memory_bytes, Stamp(f"{run}/{link}", number))


def opened(folder: Path, bytes_max: int = 1 << 20) -> Spill:
    spill = Spill(folder, bytes_max)
    spill.open()
    return spill


def killed(spill: Spill) -> None:
    """What remains of a process that got SIGKILL: the kernel closes its files."""
    spill.close()


def read_all(spill: Spill) -> list[Parcel]:
    found = []
    while (each := spill.read()) is not None:
        found.append(each)
    return found


def numbers(parcels: list[Parcel]) -> list[int]:
    return [each.stamp.number for each in parcels if each.stamp]


def test_parcels_come_back_as_they_were(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    wanted = [parcel(number) for number in range(1, 20)]
    assert all(spill.append(each) for each in wanted)
    found = read_all(spill)
    assert [(each.lane, each.partition, each.batch, each.stamp) for each in found] == [
        (each.lane, each.partition, each.batch, each.stamp) for each in wanted
    ]


def test_files_go_when_all_in_them_is_done(tmp_path: Path) -> None:
    spill = opened(tmp_path, 64_000)                       # files of 4,000 bytes
    for number in range(1, 30):
        assert spill.append(parcel(number))
    before = len(list(tmp_path.glob("*.spill")))
    found = read_all(spill)
    for each in found[: len(found) // 2]:
        spill.done(each)
    assert 1 <= len(list(tmp_path.glob("*.spill"))) < before
    for each in found[len(found) // 2 :]:
        spill.done(each)
    assert list(tmp_path.glob("*.spill")) == []
    assert spill.size_bytes == 0
    assert spill.append(parcel(30))
    assert numbers(read_all(spill)) == [30]


def test_a_file_that_cannot_be_removed_is_told_and_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spill = opened(tmp_path)
    assert spill.append(parcel(1))
    [path] = tmp_path.glob("*.spill")
    path.unlink()
    path.mkdir()
    spill.done(read_all(spill)[0])
    assert f"{path} cannot be removed" in caplog.text
    assert spill.size_bytes == 0
    assert spill.append(parcel(2))
    assert numbers(read_all(spill)) == [2]


def test_size_is_bounded_and_room_that_is_kept_free_is_for_others(tmp_path: Path) -> None:
    spill = opened(tmp_path, 20_000)
    taken = sum(spill.append(parcel(number), keep_free_bytes=5_000) for number in range(1, 50))
    assert 5 < taken < 49
    assert spill.size_bytes <= 15_000
    assert spill.append(parcel(51))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spill")) == spill.size_bytes <= 20_000


def test_after_a_kill_everything_not_done_is_there_again(tmp_path: Path) -> None:
    spill = opened(tmp_path, 64_000)
    for number in range(1, 30):
        spill.append(parcel(number))
    for each in [spill.read() for _ in range(10)]:
        assert each is not None
        spill.done(each)
    killed(spill)
    again = numbers(read_all(opened(tmp_path, 64_000)))
    assert again == list(range(again[0], 30))               # from the begin of a file on
    assert again[0] <= 11


def test_what_was_in_memory_at_the_end_takes_its_place_among_the_others(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for number in (3, 4, 7, 8):
        spill.append(parcel(number))
    for number in (1, 2, 5, 6):                            # came before some of those, written when the run ended
        spill.append(parcel(number))
    spill.close()
    spill = opened(tmp_path)
    for number in (1, 2):
        spill.append(parcel(number, run="second"))
    spill.close()
    found = read_all(opened(tmp_path))
    assert [(each.stamp.stream, each.stamp.number) for each in found if each.stamp] == [
        *(("run/racks", number) for number in range(1, 9)), ("second/racks", 1), ("second/racks", 2),
    ]


def test_links_that_do_not_queue_here_come_first(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for number in (1, 2, 3):
        spill.append(parcel(number))
        spill.append(parcel(number, link="sat"))
    spill.close()
    spill = Spill(tmp_path, 1 << 20)
    assert spill.open(first={"sat"}) == 3
    assert [each.lane.link for each in read_all(spill)] == ["sat"] * 3 + ["racks"] * 3


@pytest.mark.parametrize("cut_bytes", [1, 15, 16, 40, 500])
def test_a_record_cut_short_by_a_kill_ends_its_file_and_costs_no_other(tmp_path: Path, cut_bytes: int) -> None:
    spill = opened(tmp_path)
    for number in range(1, 6):
        spill.append(parcel(number))
    killed(spill)
    [path] = tmp_path.glob("*.spill")
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - cut_bytes)
    spill = opened(tmp_path)
    spill.append(parcel(9, run="second"))
    found = read_all(spill)
    assert numbers(found) == [1, 2, 3, 4, 9]
    for each in found:
        spill.done(each)
    assert list(tmp_path.glob("*.spill")) == []


def test_octets_changed_on_disk_are_noticed(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for number in range(1, 4):
        spill.append(parcel(number))
    killed(spill)
    [path] = tmp_path.glob("*.spill")
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(bytes(octets))
    assert numbers(read_all(opened(tmp_path))) == [1]


def test_two_collectors_do_not_share_a_folder(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    with pytest.raises(DependencyError, match="is used by another collector"):
        opened(tmp_path)
    spill.close()
    opened(tmp_path).close()


def test_a_disk_without_room_is_no_room(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    assert spill.append(parcel(1))
    full = Path("/dev/full").open("rb+", buffering=0)      # noqa: SIM115  the spill closes it
    spill.segments[1].file.close()
    spill.segments[1].file = full
    assert not spill.append(parcel(2))
    assert spill.size_bytes == spill.segments[1].size_bytes


def test_sizes_of_a_damaged_header_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / f"{1:012}.spill").write_bytes(struct.pack("<4sIII", b"otsp", 10, 0xFFFFFFFF, 0) + bytes(100))
    (tmp_path / "1abc.spill").write_bytes(b"somebody else's")
    spill = Spill(tmp_path, 1 << 20)
    assert spill.open() == 0
    assert spill.read() is None
    spill.close()
    assert (tmp_path / "1abc.spill").exists()


def test_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OrbitrackError, match="cannot be written"):
        Spill(tmp_path, 1 << 20).open()

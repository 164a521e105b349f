from typing import Any, Self, final

from framecodec.columns import Batch, Names
from framecodec.partitions import KEY_KINDS, address_bytes, partition_of, partitions_of, source_key

__all__ = [
    "AGE_MAX_NS", "BYTES_MAX", "KEY_KINDS", "ROWS_MAX", "Batches", "PacketCutter", "address_bytes", "partition_of",
    "partitions_of", "source_key",
]

BYTES_MAX: int
ROWS_MAX: int
AGE_MAX_NS: int

@final
class Batches:
    sources: Names
    partitions: int
    link_partition: int
    key_kind: int
    pending_rows: int
    def __new__(cls,
        link: str,
        codec: str,
        partitions: int,
        *,
        bytes_max: int = ...,
        rows_max: int = ...,
        age_max_ns: int = ...,
    ) -> Self: ...
    def add(
        self, frames: list[bytes], source: str, received_ns: int | None, now_ns: int
    ) -> list[tuple[int, int, Batch]]: ...
    def seal(self, now_ns: int, everything: bool = False) -> list[tuple[int, int, Batch]]: ...
    def next_seal_ns(self) -> int | None: ...
    def forget_sources(self) -> None: ...

@final
class PacketCutter:
    packets: int
    frames: int
    uncut_bytes: int
    def __new__(cls, batches: Batches, source: str) -> Self: ...
    @property
    def pending_bytes(self) -> int: ...
    def feed(self, data: Any, received_ns: int, now_ns: int) -> list[tuple[int, int, Batch]]: ...
    def finish(self, received_ns: int, now_ns: int) -> list[tuple[int, int, Batch]]: ...

from collections.abc import Iterable
from typing import Any, Self, final

from framecodec.batches import Batches
from framecodec.partitions import partition_of
from framecodec.priorities import Priorities
from framecodec.senders import Senders

__all__ = ["Receiver", "partition_of"]

SOURCES_MAX: int

@final
class Receiver:
    senders: Senders
    datagrams: int
    bytes_received: int
    refused: int
    refused_bytes: int
    limited: int
    kernel_drops: int
    def __new__(cls,
        fd: int,
        batches: Batches,
        *,
        allow: Iterable[Any] | None = (),
        rate: int = 0,
        priorities: Priorities | None = None,
        sources_max: int = ...,
    ) -> Self: ...
    @property
    def has_too_many_sources(self) -> bool: ...
    def receive(self, wait_ns: int) -> bool: ...
    def read_kernel_drops(self) -> int: ...
    def take_sources(self) -> list[tuple[str, bool, int, int, int, int | None]]: ...
    def forget_sources(self) -> None: ...

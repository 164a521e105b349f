from collections.abc import Iterable
from typing import Any, Self, final

__all__: list[str]

@final
class Senders:
    count: int
    def __new__(cls, allow: Iterable[Any] | None, rate: int, count_max: int) -> Self: ...
    def longest_search(self) -> int: ...

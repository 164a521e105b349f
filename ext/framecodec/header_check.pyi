from typing import Self

from typing_extensions import Buffer

__all__ = ["HeaderCheck"]

class HeaderCheck:
    def __new__(cls) -> Self: ...
    def fill_patterns(self) -> None: ...
    def corrected(self, frame: Buffer) -> tuple[bytes, int | None]: ...

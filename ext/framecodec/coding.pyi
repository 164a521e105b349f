from typing import Self

from typing_extensions import Buffer

__all__ = ["ReedSolomon", "crc16_of", "crc32_of", "randomized"]

DUAL_OF_POWERS: tuple[int, ...]

def crc16_of(data: Buffer) -> int: ...
def crc32_of(data: Buffer) -> int: ...
def randomized(data: Buffer) -> bytes: ...

class ReedSolomon:
    parity_bytes: int
    interleave: int
    basis: str
    data_bytes: int
    def __new__(cls, parity_bytes: int = 32, interleave: int = 1, basis: str = "dual", *, plain: bool = False) -> Self: ...
    def encode(self, data: Buffer) -> bytes: ...
    def decode(self, block: Buffer) -> tuple[bytes, int | None]: ...

from typing_extensions import Buffer

KINDS: tuple[str, ...]

def read_number(
    data: Buffer, bit: int, width: int, kind: str, *,
    little_endian: bool = False, order: bytes = b"", bit_reversed: bool = False,
) -> int | float | None: ...

from typing_extensions import Buffer

CODES: tuple[str, ...]
SCALES: tuple[str, ...]
EPOCH_1958_NS: int

def to_utc_ns(reading_ns: int, scale: str = "tai") -> int: ...
def decode(
    kind: str,
    packet: Buffer,
    *,
    bit: int = 0,
    day_bits: int = 16,
    sub_bits: int = 16,
    basic_bytes: int = 4,
    fraction_bytes: int = 2,
    epoch_ns: int = ...,
    scale: str | None = None,
) -> int | None: ...

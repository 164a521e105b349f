from typing import final

METRICS: tuple[str, ...]
REASONS: tuple[str, ...]

@final
class PacketRows: ...

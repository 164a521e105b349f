from collections.abc import Sequence
from typing import Any

from framecodec.arrow_out import Batch as Batch
from framecodec.names import Names as Names

__all__ = ["Batch", "Names", "Rows"]

class Rows:
    length: int
    def __init__(self, fields: Sequence[tuple[Any, ...]], clears_late: bool = False, has_masks: bool = False) -> None: ...
    def __len__(self) -> int: ...
    def column_names(self, index: int) -> Names: ...
    def flush(self) -> Batch: ...

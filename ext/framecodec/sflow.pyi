from typing import Self, final

from framecodec.sflow_counter_records import SflowCounters

__all__ = ["SflowDecoder"]

@final
class SflowDecoder(SflowCounters):
    def __new__(cls, *, derive: bool = True) -> Self: ...

from typing import Any, final

from framecodec.header_chains import HeaderChains

@final
class Sync(HeaderChains):
    is_locked: bool
    position: int
    def state(self) -> dict[str, Any]: ...
    def set_state(self, state: dict[str, Any]) -> None: ...

from collections.abc import Iterable

from framecodec.plan import Plan
from streams.definitions.model import Column, Definition, Layout

OPERATIONS: dict[str, int]

def build(plan: Plan, parameters: Iterable[str] | None) -> None: ...
def numbered(
    column: Column, cells: list[int], wanted: set[str] | None, layout: Layout, definition: Definition
) -> Column | None: ...
def wanted_paths(definition: Definition, parameters: Iterable[str] | None) -> set[str] | None: ...

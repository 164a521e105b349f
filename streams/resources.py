"""Files that orbitrack brings along: schemas/, installed as the package `streams.schemas`, or read from the source tree."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["schemas"]


def schemas(folder: str) -> Traversable:
    """A folder of schemas/: `clickhouse`, `xtce`, `slo`, `webhook`, ..."""
    try:
        return resources.files("streams.schemas") / folder
    except ModuleNotFoundError:
        return Path(__file__).parents[1] / "schemas" / folder

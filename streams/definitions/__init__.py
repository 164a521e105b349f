"""Definitions of telemetry: XTCE 1.1 to 1.3, or a ccsdspy table.

    definition = load(Path("jpss1.xml"))                   # raises the first mistake
    definition, mistakes = examine(Path("jpss1.xml"))       # for `orbitrack check`: all that one pass finds
    plan = framecodec.plan.Plan(definition)

What is used must be understood completely: an element, attribute or value that is not supported is a DefinitionError
with file, line, XPath and a hint, and nothing is skipped. Broken elements that nothing in use refers to do no harm.
Definitions know nothing about packets as bytes; framecodec.plan runs them.
"""

from __future__ import annotations

import gc
from pathlib import Path

from streams.definitions.compiler import compile_document
from streams.definitions.document import Document
from streams.definitions.model import Container, Definition, Parameter
from streams.definitions.survey import MISTAKES_MAX, survey
from streams.definitions.table import examine_table, load_table
from streams.errors import DefinitionError

__all__ = ["Container", "Definition", "Parameter", "examine", "load"]


def load(path: str | Path, container: str | None = None) -> Definition:
    """Read and compile the definition at `path`.

    `container` is the path or name of the container where decoding starts; without it, the base-less container with the
    most heirs. DefinitionError says what is wrong and where.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return load_table(path)
    # Everything that is made here stays: looking for garbage in it would be a third of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return compile_document(Document(path), container)
    except RecursionError:
        raise DefinitionError("elements are nested too deeply", file=path, line=1) from None
    finally:
        if was_enabled:
            gc.enable()


def examine(path: str | Path, container: str | None = None) -> tuple[Definition | None, list[DefinitionError]]:
    """The same; with mistakes None, and those that can be told apart, MISTAKES_MAX of them."""
    is_table = Path(path).suffix.lower() == ".csv"
    try:
        if is_table:
            definition, mistakes = examine_table(Path(path))
            return definition, mistakes[:MISTAKES_MAX]
        return load(path, container), []
    except DefinitionError as error:
        first = error
    if is_table:                                            # no table at all
        return None, [first]
    try:
        found = survey(Document(Path(path)), container)
    except (DefinitionError, RecursionError):               # the file as a whole cannot be read
        return None, [first]
    return None, found if str(first) in map(str, found) else sorted([*found, first], key=lambda error: error.line or 0)

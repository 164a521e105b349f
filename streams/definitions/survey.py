"""All mistakes of an XTCE file that can be told apart in one pass, for `orbitrack check`.

    mistakes = survey(document, container)

Looks at every container below the root, and at every entry of it, on its own. What only shows when they are put together (where
an entry is, what a condition compares) is looked at once nothing else is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from streams.definitions.compiler import Compiler
from streams.definitions.document import Document, Element, Space
from streams.definitions.entries import ENTRIES, Entries
from streams.errors import DefinitionError

__all__ = ["MISTAKES_MAX", "survey"]

# Whoever has more repairs these first.
MISTAKES_MAX = 20


def survey(document: Document, container: str | None) -> list[DefinitionError]:
    """In the order of the file, the first MISTAKES_MAX that were found."""
    found = Survey(document, container).look()
    return sorted(found, key=lambda error: error.line or 0)


class Survey:
    def __init__(self, document: Document, container: str | None) -> None:
        self.document, self.container = document, container
        self.mistakes: dict[str, DefinitionError] = {}
        self.seen: set[Element] = set()

    def look(self) -> list[DefinitionError]:
        compiler = Compiler(self.document, self.attempt)
        self.attempt(lambda: self.below(compiler))
        return list(self.mistakes.values())

    def attempt(self, step: Callable[[], object]) -> None:
        """The same mistake met twice is one: a type is met in every parameter that has it."""
        if len(self.mistakes) < MISTAKES_MAX:
            try:
                step()
            except DefinitionError as error:
                self.mistakes.setdefault(str(error), error)

    def below(self, compiler: Compiler) -> None:
        """The containers from the root on, in the order of the tree."""
        entries = Entries(compiler.parameters, compiler.tables)
        space, root = compiler.root(self.container)
        waiting = [(root, space)]
        while waiting:
            element, space = waiting.pop()
            if element in self.seen:
                continue
            self.seen.add(element)
            if element.find("BaseContainer") is not None and element is not root:
                self.attempt(partial(compiler.criteria, element, space))
            self.attempt(partial(entries.entry_list, element))
            listed = element.find("EntryList")
            for entry in listed if listed is not None else ():
                if entry.tag in ENTRIES:
                    self.attempt(partial(entries.check, entry))
                    self.attempt(partial(self.entry, entries, entry, space, waiting))
            waiting += [(heir, owner) for owner, heir in compiler.heirs.get(element, ())]

    def entry(self, entries: Entries, entry: Element, space: Space, waiting: list[tuple[Element, Space]]) -> None:
        if entry.tag == "ContainerRefEntry":
            waiting += entries.chain_of(entry, space)
        else:
            entries.parameter_of(entry, space)

"""Enterprise elements of IPFIX: what an exporter's vendor calls them, of which type and unit they are.

    known = load_elements(Path("vendor.yaml"))      # (enterprise number, element) -> (metric or column, form, unit)
    decoder = NetflowDecoder(enterprise=known)      # what comes with orbitrack is in there, too

A file is a list by enterprise; what comes with orbitrack is schemas/ipfix/enterprise.yaml, and a file of one's own is read
over it, element by element. Nothing here knows records; what becomes of an element's octets is framecodec.netflow_named.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from framecodec.netflow_elements import COLUMN
from framecodec.records import FLOWS_FIELDS
from streams.errors import DefinitionError
from streams.resources import schemas
from streams.yamlfile import Mistakes, Node, documents, read_text

__all__ = ["load_elements", "read_file"]

Meaning = tuple[str, str, str | None]
Known = dict[tuple[int, int], Meaning]

# Abstract data types of RFC 7012 section 3.1, by what becomes of their octets.
FORMS = {
    **{f"unsigned{bits}": "unsigned" for bits in (8, 16, 32, 64)},
    **{f"signed{bits}": "signed" for bits in (8, 16, 32, 64)},
    "float32": "float", "float64": "float", "boolean": "boolean", "string": "string", "octetArray": "octets",
    "macAddress": "mac", "ipv4Address": "address", "ipv6Address": "address",
}  # fmt: skip

# The columns of flows that a number can fill.
NUMERIC_COLUMNS = [name for name, form, _ in FLOWS_FIELDS if form in ("C", "S", "I", "L")]

ENTERPRISE_MAX = 2**32 - 1
ELEMENT_MAX = 2**16 - 1
REVERSE_ENTERPRISE = 29305
VENDOR_ELEMENT = 32_768


@cache
def load_elements(path: Path | None = None) -> Known:
    """The elements that come with orbitrack, and those of `path` over them; read once a process.

    DefinitionError says what is wrong and where.
    """
    mistakes = Mistakes()
    built_in = schemas("ipfix") / "enterprise.yaml"
    known = read_elements(built_in.read_text(encoding="utf-8"), "enterprise.yaml", mistakes)
    if path is not None:
        known |= read_file(path, mistakes)
    mistakes.raise_first()
    return known


def read_file(path: Path, mistakes: Mistakes) -> Known:
    """The elements of one file; what is wrong with it goes to `mistakes`."""
    try:
        return read_elements(read_text(path), path, mistakes)
    except DefinitionError as error:
        mistakes.note(error)
    return {}


def read_elements(text: str, file: object, mistakes: Mistakes) -> Known:
    known: Known = {}
    for document in documents(text, file, mistakes):
        for enterprise, node in [pair for group in document.each(elements_of) for pair in group]:
            meaning = node.attempt(lambda e=enterprise, node=node: meaning_of(e, node), None)  # type: ignore[misc]
            if meaning is None:
                continue
            key = (enterprise, meaning[0])
            if key in known:
                node.note(f"element {key[1]} of enterprise {enterprise} is listed twice")
            known[key] = meaning[1]
    return known


def elements_of(group: Node) -> list[tuple[int, Node]]:
    """The elements of one enterprise."""
    group.allow("enterprise", "vendor", "elements")
    enterprise = whole(group.need("enterprise"), 0, ENTERPRISE_MAX)
    if enterprise == REVERSE_ENTERPRISE:
        group.need("enterprise").fail("29305 stands for the reverse direction", "RFC 5103 section 6.1; it is known already")
    return [(enterprise, node) for node in group.need("elements").items()]


def meaning_of(enterprise: int, node: Node) -> tuple[int, Meaning]:
    """One element: its number, and what it becomes."""
    node.allow("element", "name", "column", "type", "unit")
    element = whole(node.need("element"), 1, ELEMENT_MAX)
    if enterprise == 0 and element < VENDOR_ELEMENT:
        node.need("element").fail(f"element {element} of enterprise 0 is not a vendor's", "those of NetFlow v9 begin at 32768")
    form = FORMS[node.need("type").choice(FORMS)]
    if node.one_of("name", "column") == "column":
        column = node.need("column").choice(NUMERIC_COLUMNS)
        if form != "unsigned":
            node.need("type").fail(f"'type' is {node.need('type').value}", f"column '{column}' holds unsigned numbers")
        return element, (column, COLUMN, None)
    unit = node.get("unit")
    return element, (node.need("name").text(), form, unit.text() if unit else None)


def whole(node: Node, minimum: int, maximum: int) -> int:
    number = node.number(minimum=minimum, maximum=maximum)
    if number != int(number):
        node.fail(f"'{node.key}' is {node.value}", "it must be a whole number")
    return int(number)

"""Fuzzer of XTCE definitions and of the plans made of them.

Invariant: whatever the file holds, load returns a definition or raises DefinitionError with file, line and XPath, in at most
eight lines of text; a definition that loads can be pickled, becomes a plan, and decodes octets at random; all of it in bounded
time.

    python -m tests.fuzz.definitions --seconds 60 [--seed N]   what it prints on failure runs the same again
    python -m tests.fuzz.sanitized definitions --seconds 60    the same, with the core built for ASan and UBSan

Inputs are the definitions under tests/definitions/{good,bad}/xtce with changes: elements dropped, doubled, moved, renamed, put
into others; attributes and texts set to numbers, names and paths that mean trouble; now and then octets of the file.
tests/fuzz/corpus/definitions holds files worth keeping.
"""

from __future__ import annotations

import copy
import pickle
import random
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pyarrow as pa

from framecodec.plan import Plan
from streams import definitions
from streams.errors import DefinitionError
from tests.fuzz.harness import main, mutate

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).parent / "corpus" / "definitions"
XTCE = Path(__file__).parents[1] / "definitions"
FILE_BYTES_MAX = 100_000
SECONDS_MAX = 20.0  # of CPU time, sanitizers included; a healthy one takes some hundredths
NUMBERS = (
    "-1", "0", "1", "2", "3", "7", "8", "31", "32", "33", "63", "64", "65", "127", "4096", "65535", "65536", "524280",
    "1000000", "2147483647", "2147483648", "4294967296", "9223372036854775807", "-9223372036854775808",
    "18446744073709551616", "0.5", "1e300", "-1e-300", "inf", "nan", "0x10", "08", "1,0", "0,1,2,3", "3,2,1,0", "true",
    "false", "", " ", "1" * 400,
)  # fmt: skip
WORDS = (
    "kind", "count", "mode", "nested/pair/left", "nested.mode", "/All/Head", "/All/kind", "..", "../kind", ".", "/",
    "//", "a/b/c", "OFF", "HIGH", "==", "!=", "<", ">=", "x!", "drop", "swap", "dup", "containerEnd", "nextEntry",
    "containerStart", "previousEntry", "leastSignificantByteFirst", "leastSignificantBitFirst", "twosComplement",
    "packedBCD", "BCD", "IEEE754", "MILSTD_1750A", "UTF-16", "1958-01-01", "J2000", "GPS", "9999-99-99", "0001-01-01",
    "00", "zz", "days", "picoSeconds", "\u20ac",
)  # fmt: skip


@cache
def seeds() -> list[tuple[bytes, Element]]:
    """Well-formed definitions, as text and as tree."""
    found = []
    for path in sorted([*XTCE.glob("good/xtce/*.xml"), *XTCE.glob("bad/xtce/*.xml")]):
        try:
            found.append((path.read_bytes(), ElementTree.fromstring(path.read_bytes())))
        except ElementTree.ParseError:
            continue
    return found


def change(root: Element, donors: list[Element], chance: random.Random) -> None:
    """One change of the tree."""
    elements = list(root.iter())
    chosen, parent = chance.choice(elements), chance.choice([element for element in elements if len(element)] or elements)
    how = chance.randrange(10)
    if how <= 3:
        names = list(chosen.attrib) or ["value"]
        chosen.set(chance.choice(names), chance.choice(chance.choice((NUMBERS, WORDS))))
    elif how == 4:
        chosen.text = chance.choice(chance.choice((NUMBERS, WORDS)))
    elif how == 5 and len(parent):
        parent.remove(chance.choice(parent))
    elif how == 6 and len(parent):
        parent.insert(chance.randrange(len(parent) + 1), copy.deepcopy(chance.choice(parent)))
    elif how == 7 and len(parent):
        moved = copy.deepcopy(chance.choice(parent))
        chosen.append(moved)
    elif how == 8:
        donor = chance.choice(list(chance.choice(donors).iter()))
        if sum(1 for _ in donor.iter()) < 200:
            chosen.append(copy.deepcopy(donor))
    else:
        chosen.tag = chance.choice(elements).tag
        chosen.attrib.update(chance.choice(elements).attrib)


def load_and_use(path: Path, chance: random.Random) -> None:
    try:
        loaded = definitions.load(path)
    except DefinitionError as error:
        assert error.file == str(path) or error.file == path, error
        assert error.what and error.line is not None and error.line >= 1, error
        assert len(str(error).splitlines()) <= 8, error
        assert "well-formed" in error.what or "nested" in error.what or (error.path or "").startswith("/"), error
        return
    assert pickle.loads(pickle.dumps(loaded)) == loaded
    assert all(parameter.path for parameter in loaded.parameters)
    records = [chance.randbytes(chance.choice((0, 1, 3, 8, 60, 300))) for _ in range(8)]
    records += [bytes([chance.randrange(5)]) + chance.randbytes(120) for _ in range(4)]
    for _, batch in Plan(loaded).decode(records):
        pa.record_batch(batch).validate(full=True)


def check(text: bytes, seed: int) -> None:
    """The invariant, for one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "definition.xml"
        path.write_bytes(text)
        start = time.process_time()
        load_and_use(path, random.Random(seed))
        assert time.process_time() - start < SECONDS_MAX, "too slow"


def trials(seed: int) -> Iterator[tuple[int, bytes, int]]:
    """Endless: (seed of the trial, file, seed of the records)."""
    while True:
        chance = random.Random(seed)
        found = seeds()
        text, tree = chance.choice(found) if chance.random() < 0.5 else max(found, key=lambda pair: len(pair[0]))
        if chance.random() < 0.1:
            text = mutate(text, [text for text, _ in found], chance, FILE_BYTES_MAX)
        else:
            root = copy.deepcopy(tree)
            for _ in range(chance.choice((1, 1, 1, 2, 5))):
                change(root, [tree for _, tree in found], chance)
            text = ElementTree.tostring(root)[:FILE_BYTES_MAX]
        yield seed, text, seed
        seed += 1


if __name__ == "__main__":
    sys.exit(main("definitions", __doc__, trials, check))

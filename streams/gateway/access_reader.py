"""Reads an access statement of SQL in the engine's canonical form, word by word.

    reader = Reader(b"GRANT r TO u")
    reader.take("GRANT"), reader.names()     # True, ("r",)

What comes next and is not expected is a form that the gateway does not offer: `unsupported`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streams.gateway.errors import GatewayError
from streams.gateway.sql import Token, tokens, unquoted

__all__ = ["Reader", "unsupported"]


@dataclass
class Reader:
    """The tokens of a canonical statement, one after the other."""

    text: bytes
    at: int = 0

    def __post_init__(self) -> None:
        self.tokens = list(tokens(self.text))

    def rest(self) -> list[Token]:
        return self.tokens[self.at :]

    def take(self, *words: str) -> bool:
        """Goes past these words if they come next."""
        here = [token.text.decode(errors="replace").upper() for token in self.rest()[: len(words)]]
        self.at += len(words) if here == list(words) else 0
        return here == list(words)

    def name(self) -> str:
        if not self.rest() or self.rest()[0].kind not in ("word", "quoted"):
            raise unsupported(self.text)
        self.at += 1
        return unquoted(self.tokens[self.at - 1])

    def names(self) -> tuple[str, ...]:
        found = [self.name()]
        while self.take(","):
            found.append(self.name())
        return tuple(found)

    def string(self) -> str:
        if not self.rest() or self.rest()[0].kind != "string":
            raise unsupported(self.text)
        self.at += 1
        text = self.tokens[self.at - 1].text.decode(errors="surrogateescape")[1:-1]
        if re.search(r"\\[^\\']", text.replace("\\\\", "")):
            raise GatewayError(36, "BAD_ARGUMENTS", "a password may not hold control characters")
        return re.sub(r"\\(.)", r"\1", text)

    def between(self, found: list[Token]) -> str:
        """The text of tokens that stand behind one another."""
        return self.text[found[0].start : found[-1].end].decode(errors="replace") if found else ""

    def end(self) -> None:
        if self.rest():
            raise unsupported(self.text)


def unsupported(statement: bytes) -> GatewayError:
    # Without its strings: one may be a password.
    words = (token.text.decode(errors="replace") for token in tokens(statement) if token.kind != "string")
    what = f"The embedded database does not support this form of access statement: {' '.join(words)[:200]}"
    return GatewayError(48, "NOT_IMPLEMENTED", what)

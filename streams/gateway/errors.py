"""Errors as ClickHouse clients expect them: a number, a name in brackets, an HTTP status.

GatewayError(516, "AUTHENTICATION_FAILED", "analyst: Authentication failed").status      # 403
from_engine(error)     # chDB's "Code: 60. DB::Exception: ... (UNKNOWN_TABLE)", status 404
"""

from __future__ import annotations

import re
from itertools import islice

__all__ = ["GatewayError", "from_engine"]

# exceptionCodeToHTTPStatus in ClickHouse's HTTPHandler (from memory); everything else is 500.
STATUS_OF_CODE = {
    400: (6, 26, 27, 36, 38, 41, 43, 53, 62, 69, 70, 72, 117, 130, 131, 167, 168, 349, 386, 407, 427, 456, 457, 711),
    401: (194,),
    403: (164, 192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 73, 81, 113, 115, 139, 141, 372),
    408: (159,),
    413: (223, 307),
    501: (48,),
    503: (76, 202, 209, 439),
}
HTTP_STATUS = {code: status for status, codes in STATUS_OF_CODE.items() for code in codes}

CODE = re.compile(r"Code: (\d+)\. ")
UNKNOWN_EXCEPTION = 1002
NESTED_MAX = 10  # the binding nests two or three; a message may quote any number


class GatewayError(Exception):
    """What goes back to the client: `text` is the body, `code` the X-ClickHouse-Exception-Code."""

    def __init__(self, code: int, name: str, what: str, *, status: int | None = None) -> None:
        self.code, self.name = code, name
        self.text = f"Code: {code}. DB::Exception: {what.removesuffix('.')}. ({name})"
        self.status = status or HTTP_STATUS.get(code, 500)
        super().__init__(self.text)


class EngineError(GatewayError):
    """The engine's own words, kept as they are."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text
        name = re.search(r"\(([A-Z][A-Z0-9_]+)\)[^()]*(?:\(version [^)]*\)\)?)?\s*\Z", text)
        self.name = name.group(1) if name else "UNKNOWN_EXCEPTION"
        self.status = HTTP_STATUS.get(code, 500)
        Exception.__init__(self, text)


def from_engine(error: BaseException, version: str = "") -> GatewayError:
    """The engine's error, without what its Python binding put around it, ending like a server's."""
    # The binding cannot decode messages that quote bytes of the statement; then its error has them.
    text = error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)
    codes = list(islice(CODE.finditer(text), NESTED_MAX))
    if not codes:
        return EngineError(UNKNOWN_EXCEPTION, f"Code: {UNKNOWN_EXCEPTION}. DB::Exception: {text} (UNKNOWN_EXCEPTION)")
    # The binding repeats the prefix when it wraps: "Code: 164. DB::Exception: Code: 164. DB::Exception: ...".
    innermost = codes[0]
    for later in codes[1:]:
        if text[innermost.start() : later.start()].strip() == f"Code: {innermost.group(1)}. DB::Exception:":
            innermost = later
    text = text[innermost.start() :].rstrip()
    if version and "(version " not in text:
        text += f" (version {version} (chDB))"
    return EngineError(int(innermost.group(1)), text)

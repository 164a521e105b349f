"""multipart/form-data: parameters sent as fields, and external tables sent as files.

A field without file name is a parameter, as if it stood in the URL. A file is a table of its part's name, with
`NAME_format` (TabSeparated if absent) and `NAME_structure` (`a Int32, b String`) or `NAME_types` (`Int32, String`; columns
`_1`, `_2`) among the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import BodyPartReader, web

from streams.gateway.errors import GatewayError

__all__ = ["ExternalTable", "read_form"]

FORM_BYTES_MAX = 256 << 20  # external tables are held in memory, twice for a moment


@dataclass(frozen=True, slots=True)
class ExternalTable:
    name: str
    format: str
    structure: str
    data: bytes

    @property
    def create(self) -> str:
        return f"CREATE TEMPORARY TABLE {self.quoted_name} ({self.structure})"

    @property
    def quoted_name(self) -> str:
        return "`" + self.name.replace("\\", "\\\\").replace("`", "\\`") + "`"


async def read_form(http: web.Request) -> tuple[dict[str, str], list[ExternalTable]]:
    """The fields of a multipart request and its tables; both empty if it is not one."""
    if http.content_type != "multipart/form-data":
        return {}, []
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    size_bytes = 0
    try:
        reader = await http.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise GatewayError(36, "BAD_ARGUMENTS", "a part of the form has no name")
            pieces = []
            while piece := await part.read_chunk():
                size_bytes += len(piece)
                if size_bytes > FORM_BYTES_MAX:
                    raise GatewayError(307, "TOO_MANY_BYTES", f"a form may have {FORM_BYTES_MAX} bytes at most")
                pieces.append(piece)
            content = b"".join(pieces)
            if part.filename is None:
                fields[part.name] = content.decode(errors="surrogateescape")
            else:
                files[part.name] = content
    except ValueError as error:
        raise GatewayError(36, "BAD_ARGUMENTS", f"the form cannot be read: {error}") from error
    given = {**http.query, **fields}
    return fields, [external_table(name, data, given) for name, data in files.items()]


def external_table(name: str, data: bytes, given: dict[str, str]) -> ExternalTable:
    structure = given.get(f"{name}_structure")
    if structure is None:
        types = given.get(f"{name}_types")
        if types is None:
            raise GatewayError(36, "BAD_ARGUMENTS", f"Neither structure nor types have been provided for external table {name}")
        structure = ", ".join(f"_{number} {kind}" for number, kind in enumerate(split_types(types), 1))
    return ExternalTable(name, given.get(f"{name}_format", "TabSeparated"), structure, data)


def split_types(types: str) -> list[str]:
    """`Int32, Map(String, Int8)` at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(types[start:position].strip())
            start = position + 1
    return [*parts, types[start:].strip()]

"""Plain values as TOML 1.0, for `orbitrack check --dump`. Reading is the standard library's tomllib."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["to_toml"]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(values: dict[str, Any]) -> str:
    """Keys first, then tables, then arrays of tables."""
    blocks = [block for block in tables(values, "") if block]
    return "\n\n".join(blocks) + "\n"


def tables(values: dict[str, Any], path: str) -> list[str]:
    inner = {name: value for name, value in values.items() if isinstance(value, dict) or is_table_array(value)}
    blocks = ["\n".join(f"{key(name)} = {item(value)}" for name, value in values.items() if name not in inner)]
    for name, value in inner.items():
        here = f"{path}.{key(name)}" if path else key(name)
        for header, table in [(f"[{here}]", value)] if isinstance(value, dict) else [(f"[[{here}]]", entry) for entry in value]:
            first, *others = tables(table, here)
            blocks += [f"{header}\n{first}" if first else header if header[1] == "[" else "", *others]
    return blocks


def is_table_array(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def key(name: object) -> str:
    return str(name) if BARE_KEY.fullmatch(str(name)) else json.dumps(str(name))


def item(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(item(entry) for entry in value)}]"
    # A JSON text is a TOML basic string, a JSON number a TOML number, true and false are the same.
    return json.dumps(value, ensure_ascii=False)

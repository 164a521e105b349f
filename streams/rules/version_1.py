"""The engine's state as it was kept before it had rows: one compressed text, written whole. Goes with the first release."""

from __future__ import annotations

import json
import zlib
from array import array
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from streams.rules.kept import dumps, pack

__all__ = ["is_version_1", "rows_of_version_1"]


def is_version_1(row: bytes) -> bool:
    return not row.startswith(b"{")


def rows_of_version_1(row: bytes) -> dict[str, bytes]:
    """What RuleEngine.restore reads, with one chunk for each rule."""
    content = json.loads(zlib.decompress(row))
    assert content["version"] == 1, content["version"]
    head = {"version": 2, "is_converted": True, **{name: content[name] for name in ("watch_ns", "now_ns", "orphans")}}
    rows = {"engine": dumps(head), "maintenance": dumps(content.get("maintenance", []))}
    rows |= {f"seqs:{rule}:0": dumps(seqs) for rule, seqs in content["seqs"].items()}
    for name, saved in content["rules"].items():
        rows[f"rule:{name}"] = dumps({key: saved[key] for key in ("kind", "metric", "severity", "labels", "annotations")}
                                     | {"alertname": saved.get("alertname", "")})
        if saved["kind"] == "absence":
            rows[f"watched:{name}:0"] = watched(saved["state"])
            continue
        rows[f"tracks:{name}:0"] = tracks(saved["state"])
        if recent := saved.get("recent"):
            columns = array("q", b64decode(recent["buckets"])), array("d", b64decode(recent["increases"]))
            rows[f"recent:{name}:0"] = pack({"entities": recent["entities"], "counts": recent["counts"]}, *columns)
    return rows


def tracks(state: Mapping[str, list[Any]]) -> bytes:
    """{entity: [alert, windows, run, floor, seen]}"""
    windows = [window for _, each, *_ in state.values() for window in each]
    head = {
        "entities": list(state), "alerts": [each[0] for each in state.values()],
        "times": [each[2:] for each in state.values()], "counts": [len(each[1]) for each in state.values()],
    }
    return pack(head, array("q", [start for start, _ in windows]), array("b", [verdict for _, verdict in windows]))


def watched(state: Mapping[str, list[Any]]) -> bytes:
    """{"seen": [[entity, end, seen]], "absent": [[entity, alert, end, seen]]}"""
    seen, absent = state["seen"], state["absent"]
    head = {
        "entities": [each[0] for each in (*seen, *absent)], "absent": {entity: alert for entity, alert, *_ in absent},
    }
    return pack(head, *(array("q", [each[place] for each in (*seen, *absent)]) for place in (-2, -1)))

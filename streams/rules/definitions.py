"""Rule files: YAML in, frozen `Rule`s out; every mistake named with file, line, key path and what would be right.

    rules = load_rules([Path("rules.yaml")])

Not here: what a rule does with a window (columns.py, track.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from streams.clock import NS, parse_duration_ns
from streams.errors import DefinitionError, nearest
from streams.rules.columns import COLUMNS, OPERATORS
from streams.yamlfile import Node, documents, suggestion

__all__ = ["SEVERITIES", "Rule", "load_rules"]

SEVERITIES = ("info", "warning", "critical")
KINDS = ("threshold", "rate", "absence")
COMMON_KEYS = frozenset(("name", "kind", "metric", "entity", "severity", "labels", "annotations", "webhooks", "expire"))
WINDOW_KEYS = frozenset(("op", "value", "resolve", "for", "keep_firing_for", "stale"))
KEYS = {
    "threshold": COMMON_KEYS | WINDOW_KEYS | {"column"},
    "rate": COMMON_KEYS | WINDOW_KEYS,
    "absence": COMMON_KEYS | {"after"},
}
REQUIRED = {
    "threshold": ("name", "kind", "metric", "op", "value"),
    "rate": ("name", "kind", "metric", "op", "value"),
    "absence": ("name", "kind", "metric", "after"),
}
# Labels that the engine sets itself; a rule that set them too would get two alerts with one fingerprint.
OWN_LABELS = ("alertname", "entity", "metric", "severity")
# What other tools call the same thing.
OTHER_WORDS = {"threshold": "value", "alert": "name", "operator": "op", "expr": "metric", "summary": "annotations"}
PLACEHOLDERS = ("rule", "entity", "metric", "severity", "value", "threshold")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")                # Prometheus: a label's name
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
QUOTES = """texts that begin with one of * & ! = > | % @ { [ go in quotes: op: ">", entity: "*" """.strip()
RULES_MAX = 10_000


@dataclass(frozen=True)
class Rule:
    """One rule. `op value` says what is wrong; durations are nanoseconds; `entity` is a glob in which `*` is anything."""

    name: str
    kind: str
    metric: str
    entity: str = "*"
    column: str = "mean"
    op: str = ">"
    value: float = math.nan
    resolve: float = math.nan                               # a firing alert ends where `op resolve` is no longer true
    for_ns: int = 0
    keep_firing_for_ns: int = 0
    stale_ns: int = 300 * NS                                # as Prometheus' lookback: how long a verdict holds without data
    expire_ns: int = 7 * 86_400 * NS                        # firing without any data this long ends it; 0: never
    after_ns: int = 0                                       # absence only
    severity: str = "warning"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    webhooks: tuple[str, ...] | None = None                 # None: all

    def base_labels(self) -> dict[str, str]:
        """The labels of every alert of this rule; `entity` comes on top."""
        return {**self.labels, "alertname": self.name, "metric": self.metric, "severity": self.severity}


def load_rules(files: Iterable[Path]) -> list[Rule]:
    """The rules of all files, in order. DefinitionError with file, line, key path and hint."""
    rules: list[Rule] = []
    places: dict[str, str] = {}
    for file in files:
        for entry in entries(Path(file)):
            rule, name = read_rule(entry), entry.need("name")
            if rule.name in places:
                name.fail(f"the rule '{rule.name}' is already defined in {places[rule.name]}")
            places[rule.name] = f"{file}:{name.line}"
            rules.append(rule)
    return rules


def entries(file: Path) -> list[Node]:
    """The list under `rules:`."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"is not UTF-8 text: {error.reason} at byte {error.start}", file=file) from error
    try:
        roots = list(documents(text, file))
    except DefinitionError as error:
        hint = QUOTES if "is not YAML" in error.what or "constructor" in error.what else error.hint
        raise DefinitionError(error.what, file=file, line=error.line, path=error.path, hint=hint) from error
    root = roots[0] if roots else Node(None, file, 1, "")
    if len(roots) > 1:
        roots[1].fail("begins a second document", "write all rules under one 'rules:'")
    if not isinstance(root.value, dict) or not isinstance(getattr(root.get("rules"), "value", None), list):
        root.fail("has no list of rules", "write 'rules:' and under it one '- name: ...' for each rule")
    root.allow("rules")
    listed = root.need("rules")
    if len(listed.items()) > RULES_MAX:
        listed.fail(f"has more than {RULES_MAX} rules")
    return listed.items()


def read_rule(entry: Node) -> Rule:
    if not isinstance(entry.value, dict):
        entry.fail(f"a rule must be a mapping, not {entry.describe()}")
    kind = entry.need("kind", f"kind is one of {' '.join(KINDS)}").choice(KINDS)
    for key, node in entry.mapping().items():
        if key not in KEYS[kind]:
            refuse_key(node, key, kind)
    for key in REQUIRED[kind]:
        entry.need(key)
    name = entry.need("name")
    if not NAME.fullmatch(name.text()):
        name.fail(f"'{name.text()}' is not a name", "letters, digits and '_', no digit first: FanStopped")
    labels = read_labels(entry)
    op, value = choice(entry, "op", OPERATORS, ">"), number(entry, "value", math.nan)
    return Rule(
        name=name.text(), kind=kind, metric=entry.need("metric").text(), entity=text(entry, "entity", "*"),
        column="rate" if kind == "rate" else choice(entry, "column", COLUMNS, "mean"),
        op=op, value=value, resolve=read_resolve(entry, op, value), for_ns=duration(entry, "for", "0"),
        keep_firing_for_ns=duration(entry, "keep_firing_for", "0"), stale_ns=duration(entry, "stale", "5m"),
        expire_ns=duration(entry, "expire", "7d"), after_ns=read_after(entry),
        severity=choice(entry, "severity", SEVERITIES, "warning"), labels=labels,
        annotations=read_annotations(entry, labels), webhooks=read_webhooks(entry),
    )


def refuse_key(node: Node, key: str, kind: str) -> NoReturn:
    others = [other for other in KINDS if key in KEYS[other]]
    if others:
        node.fail(f"'{key}' belongs to a rule of kind {' or '.join(others)}, not {kind}")
    near = nearest(key, (*KEYS[kind], *OTHER_WORDS)) or ""
    near = OTHER_WORDS.get(near, near)
    node.fail(
        f"unknown key '{key}'", f"did you mean '{near}'?" if near in KEYS[kind] else f"possible: {' '.join(sorted(KEYS[kind]))}"
    )


def text(entry: Node, key: str, default: str) -> str:
    node = entry.get(key)
    return default if node is None else node.text()


def number(entry: Node, key: str, default: float) -> float:
    node = entry.get(key)
    return default if node is None else node.number()


def choice(entry: Node, key: str, known: Collection[str], default: str) -> str:
    node = entry.get(key)
    if node is None:
        return default
    if node.value == "":                                    # `op: >` without quotes begins a folded text, an empty one
        node.fail(f"'{key}' cannot be nothing", QUOTES)
    return node.choice(known)


def duration(entry: Node, key: str, default: str) -> int:
    node = entry.get(key)
    try:
        return parse_duration_ns(default if node is None else node.value)
    except ValueError as error:
        assert node is not None, default
        node.fail(f"'{key}': {error}")


def read_after(entry: Node) -> int:
    after_ns = duration(entry, "after", "0")
    node = entry.get("after")
    if node is not None and after_ns <= 0:
        node.fail("'after' must be longer than 0", "windows last 10 s; a minute or more is sensible")
    return after_ns


def read_resolve(entry: Node, op: str, value: float) -> float:
    node = entry.get("resolve")
    if node is None:
        return value
    resolve = node.number()
    if op not in ("<", "<=", ">", ">="):
        node.fail(f"'resolve' means nothing with op '{op}'", "hysteresis needs one of < <= > >=")
    if (resolve > value) if op[0] == ">" else (resolve < value):
        side = "below" if op[0] == ">" else "above"
        hint = f"with op '{op}' it must be {value:g} or {side}"
        node.fail(f"'resolve' {resolve:g} is on the firing side of 'value' {value:g}", hint)
    return resolve


def read_texts(entry: Node, key: str) -> dict[str, Node]:
    node = entry.get(key)
    texts = dict(node.mapping()) if node is not None else {}
    for each in texts.values():
        each.text()
    return texts


def read_labels(entry: Node) -> dict[str, str]:
    labels = read_texts(entry, "labels")
    for name, node in labels.items():
        if name in OWN_LABELS:
            node.fail(f"the label '{name}' is set by orbitrack", "choose another name")
        if not NAME.fullmatch(name):
            node.fail(f"'{name}' is not a label name", "letters, digits and '_', no digit first")
    return {name: node.text() for name, node in labels.items()}


def read_annotations(entry: Node, labels: Mapping[str, str]) -> dict[str, str]:
    annotations = read_texts(entry, "annotations")
    known = (*PLACEHOLDERS, *labels)
    for node in annotations.values():
        for placeholder in PLACEHOLDER.findall(node.text()):
            if placeholder not in known:
                node.fail(f"nothing is called {{{placeholder}}}", suggestion(placeholder, known))
    return {name: node.text() for name, node in annotations.items()}


def read_webhooks(entry: Node) -> tuple[str, ...] | None:
    node = entry.get("webhooks")
    if node is None:
        return None
    if not isinstance(node.value, list):
        node.fail("'webhooks' must be a list of names", "for example webhooks: [ops]")
    return node.texts()

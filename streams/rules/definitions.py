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
from typing import Any, NoReturn

import yaml

from streams.clock import NS, parse_duration_ns
from streams.errors import DefinitionError, nearest
from streams.rules.columns import COLUMNS, OPERATORS

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
DEPTH_MAX = 8                                               # a rule file needs 4; an alias to itself has no end


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
        reader = Reader(Path(file))
        for index, entry in enumerate(reader.entries()):
            rule = reader.rule(entry, f"rules[{index}]")
            if rule.name in places:
                reader.fail(f"the rule '{rule.name}' is already defined in {places[rule.name]}", f"rules[{index}].name")
            places[rule.name] = f"{file}:{reader.lines[f'rules[{index}].name']}"
            rules.append(rule)
    return rules


class Reader:
    """One rule file: its values, and the line of every key."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise DefinitionError(f"cannot be read: {error.strerror}", file=file) from error
        except UnicodeDecodeError as error:
            raise DefinitionError(f"is not UTF-8 text: {error.reason} at byte {error.start}", file=file) from error
        try:
            self.loader = yaml.SafeLoader(text)
            node = self.loader.get_single_node()
            self.data = self.build(node, "", 0) if node else None
        except RecursionError:
            self.fail(f"is nested deeper than {DEPTH_MAX} levels", "")
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise DefinitionError(f"is not YAML: {error.problem}", file=file, line=line, hint=QUOTES) from error
        except yaml.YAMLError as error:
            raise DefinitionError(f"is not YAML: {str(error).splitlines()[0]}", file=file) from error

    def build(self, node: yaml.Node, path: str, depth: int) -> Any:
        """Plain values of a YAML node; notes the line of everything under its path."""
        self.lines[path] = node.start_mark.line + 1
        if depth > DEPTH_MAX:
            self.fail(f"is nested deeper than {DEPTH_MAX} levels", path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, f"{path}[{index}]", depth + 1) for index, child in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            try:
                return self.loader.construct_object(node)
            except ValueError as error:                             # an impossible date, for example
                self.fail(f"'{node.value}': {error}", path)
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            if key in values:
                self.lines[inner] = key_node.start_mark.line + 1
                self.fail(f"the key '{key}' stands here twice", inner)
            values[key] = self.build(child, inner, depth + 1)
            self.lines[inner] = key_node.start_mark.line + 1
        return values

    def fail(self, what: str, path: str, hint: str | None = None) -> NoReturn:
        raise DefinitionError(what, file=self.file, line=self.lines.get(path), path=path or None, hint=hint)

    def entries(self) -> list[Any]:
        if not isinstance(self.data, dict) or not isinstance(self.data.get("rules"), list):
            self.fail("has no list of rules", "", "write 'rules:' and under it one '- name: ...' for each rule")
        for key in self.data:
            if key != "rules":
                self.unknown(key, key, ("rules",))
        if len(self.data["rules"]) > RULES_MAX:
            self.fail(f"has more than {RULES_MAX} rules", "rules")
        entries: list[Any] = self.data["rules"]
        return entries

    def unknown(self, key: str, path: str, known: Collection[str]) -> NoReturn:
        near = nearest(key, (*known, *OTHER_WORDS)) or ""
        near = OTHER_WORDS.get(near, near)
        hint = f"did you mean '{near}'?" if near in known else f"possible here: {' '.join(sorted(known))}"
        self.fail(f"unknown key '{key}'", path, hint)

    def rule(self, entry: Any, path: str) -> Rule:
        if not isinstance(entry, dict):
            self.fail(f"a rule must be a mapping, not {describe(entry)}", path)
        kind = self.choice(entry, path, "kind", KINDS, "threshold") if "kind" in entry else self.missing("kind", path)
        for key in entry:
            if key not in KEYS[kind]:
                others = [other for other in KINDS if key in KEYS[other]]
                if others:
                    self.fail(f"'{key}' belongs to a rule of kind {' or '.join(others)}, not {kind}", f"{path}.{key}")
                self.unknown(key, f"{path}.{key}", KEYS[kind])
        for key in REQUIRED[kind]:
            if key not in entry:
                self.missing(key, path)
        name = self.text(entry, path, "name")
        if not NAME.fullmatch(name):
            self.fail(f"'{name}' is not a name", f"{path}.name", "letters, digits and '_', no digit first: FanStopped")
        labels = self.labels(entry, path)
        value = self.number(entry, path, "value", math.nan)
        op = self.choice(entry, path, "op", OPERATORS, ">")
        return Rule(
            name=name, kind=kind, metric=self.text(entry, path, "metric"), entity=self.text(entry, path, "entity", "*"),
            column="rate" if kind == "rate" else self.choice(entry, path, "column", tuple(COLUMNS), "mean"),
            op=op, value=value, resolve=self.resolve(entry, path, op, value),
            for_ns=self.duration(entry, path, "for", "0"),
            keep_firing_for_ns=self.duration(entry, path, "keep_firing_for", "0"),
            stale_ns=self.duration(entry, path, "stale", "5m"), expire_ns=self.duration(entry, path, "expire", "7d"),
            after_ns=self.after(entry, path) if kind == "absence" else 0,
            severity=self.choice(entry, path, "severity", SEVERITIES, "warning"), labels=labels,
            annotations=self.annotations(entry, path, labels), webhooks=self.webhooks(entry, path),
        )

    def missing(self, key: str, path: str) -> NoReturn:
        self.fail(f"'{key}' is missing", path, f"kind is one of {' '.join(KINDS)}" if key == "kind" else None)

    def text(self, entry: Mapping[str, Any], path: str, key: str, default: str = "") -> str:
        value = entry.get(key, default)
        if not isinstance(value, str) or not value:
            self.fail(f"'{key}' must be a text, not {describe(value)}", f"{path}.{key}", "put it in quotes")
        return value

    def choice(self, entry: Mapping[str, Any], path: str, key: str, known: Iterable[str], default: str) -> str:
        value = entry.get(key, default)
        if value not in known:
            near = nearest(str(value), known)
            hint = f"did you mean '{near}'?" if near else f"possible: {' '.join(known)}"
            if value == "":                                 # `op: >` without quotes begins a folded text, an empty one
                hint = QUOTES
            self.fail(f"'{key}' cannot be '{value}'", f"{path}.{key}", hint)
        return str(value)

    def number(self, entry: Mapping[str, Any], path: str, key: str, default: float) -> float:
        value = entry.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"'{key}' must be a number, not {describe(value)}", f"{path}.{key}")
        if key in entry and not math.isfinite(value):
            self.fail(f"'{key}' must be a finite number, not {value}", f"{path}.{key}")
        return float(value)

    def resolve(self, entry: Mapping[str, Any], path: str, op: str, value: float) -> float:
        if "resolve" not in entry:
            return value
        resolve = self.number(entry, path, "resolve", value)
        if op not in ("<", "<=", ">", ">="):
            self.fail(f"'resolve' means nothing with op '{op}'", f"{path}.resolve", "hysteresis needs one of < <= > >=")
        if (resolve > value) if op[0] == ">" else (resolve < value):
            side = "below" if op[0] == ">" else "above"
            self.fail(
                f"'resolve' {resolve:g} is on the firing side of 'value' {value:g}", f"{path}.resolve",
                f"with op '{op}' it must be {value:g} or {side}",
            )
        return resolve

    def duration(self, entry: Mapping[str, Any], path: str, key: str, default: str) -> int:
        value = entry.get(key, default)
        try:
            return parse_duration_ns(value)
        except ValueError as error:
            self.fail(f"'{key}': {error}", f"{path}.{key}")

    def after(self, entry: Mapping[str, Any], path: str) -> int:
        after_ns = self.duration(entry, path, "after", "0")
        if after_ns <= 0:
            self.fail("'after' must be longer than 0", f"{path}.after", "windows last 10 s; a minute or more is sensible")
        return after_ns

    def labels(self, entry: Mapping[str, Any], path: str) -> dict[str, str]:
        labels = self.texts(entry, path, "labels")
        for name in labels:
            if name in OWN_LABELS:
                self.fail(f"the label '{name}' is set by orbitrack", f"{path}.labels.{name}", "choose another name")
            if not NAME.fullmatch(name):
                self.fail(f"'{name}' is not a label name", f"{path}.labels.{name}", "letters, digits and '_', no digit first")
        return labels

    def annotations(self, entry: Mapping[str, Any], path: str, labels: Mapping[str, str]) -> dict[str, str]:
        annotations = self.texts(entry, path, "annotations")
        known = (*PLACEHOLDERS, *labels)
        for name, text in annotations.items():
            for placeholder in PLACEHOLDER.findall(text):
                if placeholder not in known:
                    near = nearest(placeholder, known)
                    hint = f"did you mean {{{near}}}?" if near else f"possible: {' '.join(f'{{{each}}}' for each in known)}"
                    self.fail(f"nothing is called {{{placeholder}}}", f"{path}.annotations.{name}", hint)
        return annotations

    def texts(self, entry: Mapping[str, Any], path: str, key: str) -> dict[str, str]:
        values = entry.get(key, {})
        if not isinstance(values, dict):
            self.fail(f"'{key}' must be a mapping, not {describe(values)}", f"{path}.{key}", f"write {key}: {{name: text}}")
        for name, value in values.items():
            if not isinstance(value, str):
                self.fail(f"'{name}' must be a text, not {describe(value)}", f"{path}.{key}.{name}", "put it in quotes")
        return values

    def webhooks(self, entry: Mapping[str, Any], path: str) -> tuple[str, ...] | None:
        if "webhooks" not in entry:
            return None
        names = entry["webhooks"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fail("'webhooks' must be a list of names", f"{path}.webhooks", "for example webhooks: [ops]")
        return tuple(names)


def describe(value: Any) -> str:
    """A value as an error message names it."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"'{value}'"

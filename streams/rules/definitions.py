"""Rule files: YAML in, frozen `Rule`s out; every mistake named with file, line, key path and what would be right.

    rules = load_rules([Path("rules.yaml")])     # raises the first mistake
    rules, mistakes = examine_rules([...])       # all of them, for `orbitrack check`

Not here: what a rule does with a window (columns.py, track.py) or with the database's answer (polls.py, anomaly.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from streams.clock import NS, parse_duration_ns
from streams.errors import DefinitionError, nearest
from streams.rules.columns import COLUMNS, OPERATORS
from streams.rules.rule import PLACEHOLDER, Anomaly, Levels, Pair, Place, Rule
from streams.slo import BURN_PAIRS, BURN_WINDOWS
from streams.yamlfile import QUOTES, Mistakes, Node, documents, read_text, suggestion

__all__ = ["SEVERITIES", "examine_rules", "load_rules"]

SEVERITIES = ("info", "warning", "critical")
COMMON_KEYS = frozenset(("name", "kind", "entity", "severity", "labels", "annotations", "webhooks", "expire"))
TIMER_KEYS = frozenset(("for", "keep_firing_for", "stale"))
VALUE_KEYS = frozenset(("metric", "op", "value", "resolve"))
KEYS = {
    "threshold": COMMON_KEYS | TIMER_KEYS | VALUE_KEYS | {"column"},
    "rate": COMMON_KEYS | TIMER_KEYS | VALUE_KEYS | {"over"},
    "absence": COMMON_KEYS | {"metric", "after"},
    "burn_rate": COMMON_KEYS | TIMER_KEYS | {"slo", "pairs"},
    "credit": COMMON_KEYS | TIMER_KEYS | {"slo", "value"},
    "anomaly": COMMON_KEYS | TIMER_KEYS | {"metric", "op", "deviations", "resolve", "window", "baseline", "season", "least"},
}
KINDS = tuple(KEYS)
REQUIRED = {
    "threshold": ("name", "kind", "metric", "op", "value"),
    "rate": ("name", "kind", "metric", "op", "value"),
    "absence": ("name", "kind", "metric", "after"),
    "burn_rate": ("name", "kind"),
    "credit": ("name", "kind"),
    "anomaly": ("name", "kind", "metric", "deviations"),
}
# Labels that the engine sets itself; a rule that set them too would get two alerts with one fingerprint.
OWN_LABELS = ("alertname", "entity", "metric", "severity")
LEVEL_LABELS = {"burn_rate": ("slo", "objective"), "credit": ("slo", "objective")}
# What other tools call the same thing.
OTHER_WORDS = {"threshold": "value", "alert": "name", "operator": "op", "expr": "metric", "summary": "annotations"}
PLACEHOLDERS = ("rule", "entity", "metric", "severity", "value", "threshold")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")                # Prometheus: a label's name
RULES_MAX = 10_000
# Increases are remembered for so long, for every port that has any. What takes longer is an SLO, or a poll.
OVER_MAX_NS = 600 * NS
BASELINE_MAX_S = 3660 * 86_400


def load_rules(files: Iterable[Path]) -> list[Rule]:
    """The rules of all files, in order. DefinitionError with file, line, key path and hint for the first mistake."""
    rules, mistakes = examine_rules(files)
    for mistake in mistakes:
        raise mistake
    return rules


def examine_rules(files: Iterable[Path]) -> tuple[list[Rule], list[DefinitionError]]:
    """The rules of all files, and every mistake file by file; with mistakes the rules are guesses."""
    mistakes = Mistakes()
    rules: dict[str, Rule] = {}
    places: dict[str, str] = {}
    for file in map(Path, files):
        try:
            listed = entries(file, mistakes)
        except DefinitionError as error:
            mistakes.note(error)
            continue
        for entry in listed:
            rule: Rule | None = entry.attempt(partial(read_rule, entry), None)
            if rule is not None and rule.name in rules:
                entry.need("name").note(f"the rule '{rule.name}' is already defined in {places[rule.name]}")
            elif rule is not None and rule.name:
                rules[rule.name] = rule
                places[rule.name] = f"{file}:{entry.need('name').line}"
    return list(rules.values()), mistakes.found()


def entries(file: Path, mistakes: Mistakes) -> list[Node]:
    """The list under `rules:`."""
    text = read_text(file)
    before = len(mistakes.errors)
    roots = list(documents(text, file, mistakes))
    if len(mistakes.errors) > before and not roots:
        return []
    root = roots[0] if roots else Node(None, file, 1, "", mistakes)
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
    """One rule; what cannot be read is noted and left at its default. DefinitionError where there is nothing to go by."""
    if not isinstance(entry.value, dict):
        entry.fail(f"a rule must be a mapping, not {entry.describe()}")
    attempt = entry.attempt
    kind = entry.need("kind", f"kind is one of {' '.join(KINDS)}").choice(KINDS)
    for key, node in entry.mapping().items():
        if key not in KEYS[kind]:
            refuse_key(entry, node, key, kind)
    for key in REQUIRED[kind]:
        attempt(partial(entry.need, key), entry)
    labels: dict[str, str] = attempt(lambda: read_labels(entry, kind), {})
    op = attempt(lambda: choice(entry, "op", OPERATORS if kind != "anomaly" else (">", "<", "!="), ">"), ">")
    value = attempt(lambda: number(entry, "value", 0.0 if kind == "credit" else math.nan), math.nan)
    severity = "critical" if kind == "burn_rate" and text_of(entry, "pairs") in (None, "page") else "warning"
    return Rule(
        name=attempt(lambda: read_name(entry), ""), kind=kind,
        metric=attempt(lambda: text(entry, "metric", kind), kind), entity=attempt(lambda: text(entry, "entity", "*"), "*"),
        column="rate" if kind == "rate" else attempt(lambda: choice(entry, "column", COLUMNS, "mean"), "mean"),
        op=op, value=value, resolve=value if kind == "anomaly" else attempt(lambda: read_resolve(entry, op, value), value),
        over_ns=attempt(lambda: read_over(entry), 0), for_ns=timer(entry, "for", "0"),
        keep_firing_for_ns=timer(entry, "keep_firing_for", "0"), stale_ns=timer(entry, "stale", "5m"),
        expire_ns=timer(entry, "expire", "7d"), after_ns=attempt(lambda: read_after(entry), 0),
        severity=attempt(lambda: choice(entry, "severity", SEVERITIES, severity), severity), labels=labels,
        annotations=attempt(lambda: read_annotations(entry, kind, labels), {}),
        webhooks=attempt(lambda: read_webhooks(entry), None), poll=attempt(lambda: read_poll(entry, kind), None),
        places=places_of(entry),
    )


def places_of(entry: Node) -> dict[str, Place]:
    """Where a rule says its name and what it is about: whether there is any such thing is known elsewhere."""
    nodes = {key: node for key in ("name", "slo") if (node := entry.get(key))}
    webhooks = entry.get("webhooks")
    if webhooks and isinstance(webhooks.value, list):
        nodes |= {f"webhooks[{number}]": each for number, each in enumerate(webhooks.items())}
    return {key: Place(str(node.file), node.line, node.path) for key, node in nodes.items()}


def read_name(entry: Node) -> str:
    name = entry.need("name")
    if not NAME.fullmatch(name.text()):
        name.fail(f"'{name.text()}' is not a name", "letters, digits and '_', no digit first: FanStopped")
    return name.text()


def refuse_key(entry: Node, node: Node, key: str, kind: str) -> None:
    others = [other for other in KINDS if key in KEYS[other]]
    if others:
        node.note(f"'{key}' belongs to a rule of kind {' or '.join(others)}, not {kind}")
        return
    near = nearest(key, (*KEYS[kind], *OTHER_WORDS)) or ""
    near = OTHER_WORDS.get(near, near)
    hint = f"did you mean '{near}'?" if near in KEYS[kind] else f"possible: {' '.join(sorted(KEYS[kind]))}"
    entry.refuse(node.error(f"unknown key '{key}'", hint), near if near in KEYS[kind] else None)


def text_of(entry: Node, key: str) -> object:
    node = entry.get(key)
    return None if node is None else node.value


def text(entry: Node, key: str, default: str) -> str:
    node = entry.get(key)
    return default if node is None else node.text()


def number(entry: Node, key: str, default: float, *, minimum: float | None = None) -> float:
    node = entry.get(key)
    return default if node is None else node.number(minimum=minimum)


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


def timer(entry: Node, key: str, default: str) -> int:
    return entry.attempt(lambda: duration(entry, key, default), 0)


def whole_minutes(entry: Node, key: str, default: str) -> int:
    """Seconds."""
    length_ns, node = duration(entry, key, default), entry.get(key)
    if node is not None and (length_ns <= 0 or length_ns % (60 * NS)):
        node.fail(f"'{key}' is {node.value}", "it must be whole minutes: roll-ups have no smaller steps")
    return length_ns // NS


def read_over(entry: Node) -> int:
    over_ns, node = duration(entry, "over", "0"), entry.get("over")
    if node is not None and not (0 < over_ns <= OVER_MAX_NS and over_ns % (10 * NS) == 0):
        node.fail(f"'over' is {node.value}", "it must be a multiple of 10 s, the windows' length, up to 10m")
    return over_ns


def read_poll(entry: Node, kind: str) -> Levels | Anomaly | None:
    if kind == "anomaly":
        return read_anomaly(entry)
    if kind not in ("burn_rate", "credit"):
        return None
    slos = text(entry, "slo", "*")
    return Levels("credit", slos) if kind == "credit" else Levels("burn_rate", slos, read_pairs(entry.get("pairs")))


def read_pairs(node: Node | None) -> tuple[Pair, ...]:
    """One of the table's by name, or a list of one's own."""
    if node is None:
        return tuple(Pair(*pair) for pair in BURN_PAIRS["page"])
    if not isinstance(node.value, list):
        return tuple(Pair(*pair) for pair in BURN_PAIRS[node.choice(BURN_PAIRS)])
    pairs = tuple(node.each(read_pair))
    if not node.value:
        node.fail("'pairs' is empty", "page, ticket, or a list of {long: 1h, short: 5m, rate: 14.4}")
    return pairs


def read_pair(node: Node) -> Pair:
    node.allow("long", "short", "rate")
    long, short = (node.need(key).choice(BURN_WINDOWS) for key in ("long", "short"))
    if BURN_WINDOWS[short] > BURN_WINDOWS[long]:
        node.need("short").fail(f"'short' {short} is longer than 'long' {long}")
    return Pair(long, short, node.need("rate").number(minimum=0))


def read_anomaly(entry: Node) -> Anomaly:
    # Of 0 every difference would be an anomaly, and only its absence the end of one.
    deviations = entry.need("deviations").number(above=0)
    resolve_node = entry.get("resolve")
    resolve = deviations if resolve_node is None else resolve_node.number(above=0)
    if resolve > deviations:
        entry.need("resolve").note(f"'resolve' {resolve:g} is above 'deviations' {deviations:g}", "it must be that or less")
    season = entry.get("season")
    window_s, baseline_s = whole_minutes(entry, "window", "5m"), whole_minutes(entry, "baseline", "7d")
    season_s = {"day": 86_400, "week": 604_800}[season.choice(("day", "week"))] if season else 0
    if baseline_s < max(3 * 3600, 2 * season_s, window_s):
        (entry.get("baseline") or entry).note(
            "'baseline' is too short", "three hours at least, two seasons where there is one, and longer than 'window'"
        )
    if baseline_s > BASELINE_MAX_S:
        entry.need("baseline").note(f"'baseline' is longer than {BASELINE_MAX_S // 86_400} days")
    return Anomaly(
        deviations, resolve, choice(entry, "op", (">", "<", "!="), "!="), window_s, baseline_s, season_s,
        number(entry, "least", 0.0, minimum=0),
    )


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
    return {name: each for name, each in texts.items() if each.attempt(each.text, "")}


def read_labels(entry: Node, kind: str) -> dict[str, str]:
    labels = read_texts(entry, "labels")
    for name, node in labels.items():
        if name in (*OWN_LABELS, *LEVEL_LABELS.get(kind, ())):
            node.note(f"the label '{name}' is set by orbitrack", "choose another name")
        if not NAME.fullmatch(name):
            node.note(f"'{name}' is not a label name", "letters, digits and '_', no digit first")
    return {name: node.text() for name, node in labels.items()}


def read_annotations(entry: Node, kind: str, labels: Mapping[str, str]) -> dict[str, str]:
    annotations = read_texts(entry, "annotations")
    known = (*PLACEHOLDERS, *labels, *LEVEL_LABELS.get(kind, ()))
    for node in annotations.values():
        for placeholder in PLACEHOLDER.findall(node.text()):
            if placeholder not in known:
                node.note(f"nothing is called {{{placeholder}}}", suggestion(placeholder, known))
    return {name: node.text() for name, node in annotations.items()}


def read_webhooks(entry: Node) -> tuple[str, ...] | None:
    node = entry.get("webhooks")
    if node is None:
        return None
    if not isinstance(node.value, list):
        node.fail("'webhooks' must be a list of names", "for example webhooks: [ops]")
    return node.texts()

"""Parameters of named queries: what may be written, and what the server gets for it.

A type is a function (parameter, text, all arguments) -> values for the server's `{name:Type}` placeholders. It raises
UsageError with what would be right. Nothing that a user wrote ever becomes SQL text, except field names of
`fields_of_flows`, which are looked up in model.FLOWS first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.clock import NS, parse_duration_ns, parse_time_ns
from streams.errors import UsageError, nearest
from streams.model import FLOWS
from streams.slo.sql import glob_pattern

__all__ = ["PARAMETERS", "TYPES", "WRITTEN", "Parameter", "Values", "field_keys", "field_texts", "selection"]

Values = dict[str, object]
# DateTime of ClickHouse is 32 bits of seconds.
SECONDS_MAX = 2**32 - 1
ADDRESSES = tuple(name for name in ("src_addr", "dst_addr", "next_hop", "bgp_next_hop") if name in FLOWS.names)
MACS = ("src_mac", "dst_mac")


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    default: str | None
    meaning: str
    required: bool = False
    example: str = ""

    @classmethod
    def parse(cls, line: str) -> Parameter:
        """`metric name = latency_ms | what is counted`; `= required` for one without default."""
        head, meaning = line.split(" | ", 1)
        left, _, default = head.partition("=")
        name, kind = left.split()
        assert kind in TYPES, f"parameter {name}: unknown type {kind}"
        required = default.strip() == "required"
        return cls(name, kind, None if required else default.strip(), meaning, required, EXAMPLES.get(kind, "..."))

    def fail(self, text: str, what: str, hint: str | None = None) -> NoReturn:
        raise UsageError(f"--param {self.name}={text}: {what}" + (f"\n  hint: {hint}" if hint else ""))


def time(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    return {parameter.name: server_time(parameter, text, instant(parameter, text, zone_of(given)))}


def instant(parameter: Parameter, text: str, zone: ZoneInfo) -> int:
    """Seconds since 1970, rounded down to the minute; without an offset it is local time of `zone`."""
    try:
        since = parse_time_ns(text) // NS
    except ValueError as error:
        parameter.fail(text, str(error))
    if not re.search(r"(Z|[+-]\d\d:\d\d)$", text.strip()) or re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
        since = int(datetime.fromtimestamp(since, UTC).replace(tzinfo=zone).timestamp())
    return since - since % 60


def server_time(parameter: Parameter, text: str, since: int) -> str:
    if not 0 <= since <= SECONDS_MAX:
        parameter.fail(text, "is outside 1970 to 2106")
    return datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S")


def month(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    """A calendar month of the zone, as `from` and `to`."""
    match = re.fullmatch(r"(\d{4})-(\d\d)", text.strip())
    if not match or not 1 <= int(match[2]) <= 12 or not 1970 <= int(match[1]) <= 2105:
        parameter.fail(text, "is not a month from 1970 to 2105", "write for example 2026-10")
    first = date(int(match[1]), int(match[2]), 1)
    following = (first + timedelta(days=31)).replace(day=1)
    spans = (instant(parameter, day.isoformat(), zone_of(given)) for day in (first, following))
    return dict(zip(("from", "to"), (server_time(parameter, text, since) for since in spans), strict=True))


def zone_of(given: Mapping[str, str]) -> ZoneInfo:
    name = given.get("zone") or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = "a name of the IANA database, for example Europe/Stockholm"
        raise UsageError(f"--param zone={name}: is not a time zone\n  hint: {hint}") from error


def zone(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    return {parameter.name: zone_of(given).key}


def name(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    if not text.strip():
        parameter.fail(text, "is empty")
    return {parameter.name: text.strip()}


def number(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    try:
        value = float(text)
    except ValueError:
        parameter.fail(text, "is not a number")
    if not abs(value) < float("inf"):
        parameter.fail(text, "is not a finite number")
    return {parameter.name: value}


def fraction(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    value = number(parameter, text, given)
    if not 0 <= float(str(value[parameter.name])) <= 1:
        parameter.fail(text, "is not a fraction", "0..1: write 0.999 for 99.9 %")
    return value


def count(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    if not re.fullmatch(r"\d{1,9}", text.strip()):
        parameter.fail(text, "is not a whole number")
    return {parameter.name: int(text)}


def positive(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    if count(parameter, text, given)[parameter.name] == 0:
        parameter.fail(text, "must be at least 1")
    return {parameter.name: int(text)}


def duration(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    """Seconds; whole minutes, at least one."""
    try:
        length_ns = parse_duration_ns(text)
    except ValueError as error:
        parameter.fail(text, str(error))
    if length_ns < 60 * NS or length_ns % (60 * NS):
        parameter.fail(text, "is not a whole number of minutes")
    return {parameter.name: length_ns // NS}


def period(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    known = ("day", "week", "month")
    if text not in known:
        near = nearest(text, known)
        parameter.fail(text, f"is none of {' '.join(known)}", f"did you mean '{near}'?" if near else None)
    return {parameter.name: text}


def fields(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    """Columns of flows; their names become SQL text, so only known ones pass."""
    names = text.replace(" ", "").split(",")
    for field in names:
        if field not in FLOWS.names:
            near = nearest(field, FLOWS.names)
            parameter.fail(text, f"flows have no field '{field}'", f"did you mean '{near}'?" if near else None)
        if field in ("bytes", "packets"):
            parameter.fail(text, f"'{field}' is what is counted")
    if len(set(names)) != len(names):
        parameter.fail(text, "names a field twice")
    return {}


def tiers(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    """`99.9:0,99:10`: availability reached, credit, both in percent; the first reached counts."""
    try:
        pairs = [(float(reached), float(pays)) for reached, pays in (pair.split(":") for pair in text.split(","))]
    except ValueError:
        parameter.fail(text, "are not credit tiers", "REACHED_PCT:CREDIT_PCT pairs: 99.9:0,99:10,95:25,0:100")
    return {"tier_reached": [reached for reached, _ in pairs], "tier_credit": [pays for _, pays in pairs]}


def reasons(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    return {parameter.name: [reason.strip() for reason in text.split(",") if reason.strip()]}


def glob(parameter: Parameter, text: str, given: Mapping[str, str]) -> Values:
    return {parameter.name: glob_pattern(text) if "*" in text else text}


TYPES: dict[str, Callable[[Parameter, str, Mapping[str, str]], Values]] = {
    each.__name__: each
    for each in (time, month, zone, name, number, fraction, count, positive, duration, period, fields, tiers, reasons, glob)
}
# What may be written for each type, for docs/sla.md.
WRITTEN = {
    "time": "`2026-10-01`, `2026-10-01T12:00:00Z`, `2026-10-01T12:00:00+02:00`; rounded down to the minute",
    "month": "`2026-10`",
    "zone": "a name of the IANA database: `Europe/Stockholm`",
    "name": "a metric",
    "number": "`27`, `0.5`",
    "fraction": "0..1: `0.999` is 99.9 %",
    "count": "a whole number",
    "positive": "a whole number from 1",
    "duration": "whole minutes: `5m`, `1h`, `1d`",
    "period": "`day`, `week` or `month`",
    "fields": "columns of `flows`, separated by commas",
    "tiers": "`REACHED_PCT:CREDIT_PCT` pairs, separated by commas; the first reached counts",
    "reasons": "texts of `maintenance.reason`, separated by commas; empty: none",
    "glob": "exact, or with `*` for anything",
}
EXAMPLES = {"time": "2026-10-01", "name": "latency_ms", "fraction": "0.999"}
PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("from", "time", None, "start of the span", True, "2026-10-01"),
        Parameter("to", "time", None, "end of the span, not part of it", True, "2026-11-01"),
        Parameter("at", "time", None, "the moment that is asked about", True, "2026-10-15T12:00:00Z"),
        Parameter("month", "month", None, "a calendar month of the zone, instead of from and to"),
        Parameter("zone", "zone", "UTC", "IANA time zone of dates without offset, days, weeks and months"),
        Parameter("entity", "glob", None, "only these entities"),
        Parameter("kind", "glob", None, "only entities of this kind"),
        Parameter("site", "glob", None, "only entities at this site"),
        Parameter("customer", "glob", None, "only entities of this customer"),
    )
}


def selection(given: Mapping[str, str], column: str, site_column: str = "") -> str:
    """SQL: is the entity named by `column` selected? `site_column`: the site stands in the table itself."""

    def matches(parameter: str, of: str) -> str:
        return f"match({of}, {{{parameter}:String}})" if "*" in given[parameter] else f"{of} = {{{parameter}:String}}"

    conditions = [matches("entity", column)] if "entity" in given else []
    if site_column and "site" in given:
        conditions.append(matches("site", site_column))
    through = [word for word in ("kind", "site", "customer") if word in given and not (site_column and word == "site")]
    if through:
        where = " AND ".join(matches(word, word) for word in through)
        conditions.append(f"{column} IN (SELECT entity FROM entities FINAL WHERE {where})")
    return " AND ".join(conditions) or "true"


def field_texts(names: tuple[str, ...]) -> str:
    """SELECT list of flow fields as `orbitrack decode` prints them: IPv4 addresses without ::ffff:, MACs with colons."""
    return ", ".join(field_text(name) for name in names)


def field_text(name: str) -> str:
    if name in ADDRESSES:
        return f"replaceOne(toString({name}), '::ffff:', '') AS {name}"
    if name in MACS:
        return f"arrayStringConcat(extractAll(lower(hex({name})), '..'), ':') AS {name}"
    return name


def field_keys(names: tuple[str, ...]) -> str:
    """A tuple of flow fields in which a null equals a null, so that it can stand on both sides of IN."""
    each = (f"{name} IS NULL, ifNull({name}, defaultValueOfArgumentType(assumeNotNull({name})))" for name in names)
    return f"({', '.join(each)})"

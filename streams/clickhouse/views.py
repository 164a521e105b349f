"""The SLA catalogue as views, for whoever speaks SQL and nothing else: dashboards, spreadsheets, other people's scripts.

    SELECT * FROM sla_availability(from = '2026-10-01 00:00:00', to = '2026-11-01 00:00:00') WHERE entity LIKE 'link-%'

A view takes what its query takes without a default (from and to, or at; metric and objective), times in UTC; everything else
has its default. Made anew when a query has changed: `make_views(client)` may be called at any time, by several at once.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from streams.clickhouse.cluster import on_cluster
from streams.clickhouse.queries import NamedQuery, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clickhouse_connect.driver.client import Client

__all__ = ["make_views", "view_arguments", "view_name", "view_statement"]

PLACEHOLDER = re.compile(r"\{(\w+):([^{}]+)\}")
# Any that `bind` takes: they are placeholders again in the view.
DAY = {"from": "2026-10-01", "to": "2026-10-02"}
SPANS = {"at": {"at": "2026-10-01"}, "span": DAY, "month": DAY}
ANY = {"fraction": "0.5", "name": "up"}


def view_name(query: NamedQuery) -> str:
    return f"sla_{query.name}"


def view_arguments(query: NamedQuery) -> tuple[str, ...]:
    """The names that a view must be given."""
    span = SPANS[query.span]
    return *span, *(name for name, parameter in query.parameters.items() if parameter.required and name not in span)


def view_statement(query: NamedQuery, cluster: str | None = None) -> str:
    """CREATE OR REPLACE VIEW, with a comment that changes when the query does."""
    own = {name: ANY[query.parameters[name].type] for name in view_arguments(query) if name not in SPANS[query.span]}
    bound = query.bind({**SPANS[query.span], **own})
    open_names = view_arguments(query)

    def fill(match: re.Match[str]) -> str:
        name, kind = match.groups()
        return match[0] if name in open_names else f"CAST({literal(bound.parameters[name])}, {literal(kind)})"

    body = PLACEHOLDER.sub(fill, bound.sql)
    comment = f"{query.title} ({hashlib.sha256(body.encode()).hexdigest()[:12]})"
    return f"CREATE OR REPLACE VIEW {view_name(query)}{on_cluster(cluster)} AS\n{body}\nCOMMENT {literal(comment)}"


def literal(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"
    return repr(value)


def make_views(client: Client, cluster: str | None = None, queries: Iterable[NamedQuery] | None = None) -> list[str]:
    """Creates the views that are missing or of another version; returns their names."""
    comments = dict(client.query(
        "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND name LIKE 'sla\\\\_%'"
    ).result_rows)
    made = []
    for query in catalogue().values() if queries is None else queries:
        statement = view_statement(query, cluster)
        if not statement.endswith(f"COMMENT {literal(comments.get(view_name(query)))}"):
            client.command(statement)
            made.append(view_name(query))
    return made

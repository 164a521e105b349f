"""Views of the SLA catalogue: made once, made again when their query changes. What they say: tests/test_sla_queries.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from streams.clickhouse.client import connect
from streams.clickhouse.queries import catalogue, named
from streams.clickhouse.views import literal, make_views, view_arguments, view_name, view_statement


def test_views_are_made_once_and_again_when_their_query_changes(database: str) -> None:
    changed = replace(named("data_loss"), body=named("data_loss").body + " -- changed")

    with connect(database) as client:
        assert make_views(client) == []
        assert make_views(client, queries=[changed, named("worst")]) == ["sla_data_loss"]
        assert make_views(client) == ["sla_data_loss"]
        titles = dict(client.query("SELECT name, comment FROM system.tables WHERE name LIKE 'sla%'").result_rows)

    assert titles.keys() == {view_name(query) for query in catalogue().values()}
    assert all(titles[view_name(query)].startswith(query.title) for query in catalogue().values())


def test_several_processes_may_make_them_at_once(database: str) -> None:
    def make(_: int) -> None:
        with connect(database) as client:
            make_views(client, queries=[replace(query, title="other") for query in list(catalogue().values())[:4]])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))

    with connect(database) as client:
        tables = "system.tables WHERE database = currentDatabase()"
        assert client.command(f"SELECT count() FROM {tables} AND comment LIKE 'other%'") == 4


def test_cluster_variant_of_every_view_parses(database: str) -> None:
    with connect(database) as client:
        for query in catalogue().values():
            statement = view_statement(query, "main")
            assert f"VIEW {view_name(query)} ON CLUSTER 'main' AS" in statement
            client.query("EXPLAIN AST " + statement)


def test_view_takes_what_its_query_needs_and_no_more() -> None:
    assert view_arguments(named("availability")) == ("from", "to")
    assert view_arguments(named("burn_rate")) == ("at", "metric", "objective")
    assert view_arguments(named("calendar_month")) == ("from", "to")


@pytest.mark.parametrize(("value", "text"), [("it's \\", "'it\\'s \\\\'"), (["a", 1.5], "['a', 1.5]"), (27.0, "27.0")])
def test_values_are_written_as_literals(value: object, text: str) -> None:
    assert literal(value) == text

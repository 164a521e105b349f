"""Entities, maintenance and contacts in files, and the database made to say the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli import main
from streams.clickhouse.client import connect
from streams.clickhouse.cluster import cluster_of
from streams.clickhouse.reference import delete_statement, load_reference
from streams.config import Database
from streams.database import load_reference_rows
from streams.errors import ConfigError, DefinitionError
from streams.reference import read_reference, zones
from streams.yamlfile import Mistakes
from tests.processes import environment

SITES = """
entities:
  - entity: link-1
    kind: link
    site: Kiruna
    customer: acme
    zone: Europe/Stockholm
    attrs: {latency_target_ms: 45, note: "north"}
  - entity: 7
maintenance:
  - {id: 3, entity: link-1, start: 2026-10-03T02:00:00+02:00, end: 2026-10-03 04:00:00, cancelled: true}
  - {entity: link-1, start: 2026-10-04, end: 2026-10-05}
"""
CONTACTS = """\
spacecraft,station,aos,los,required_snr_db
sat-1,"Kiruna, north",2026-10-01T00:00:00Z,2026-10-01T00:10:00Z,8.5

sat-1,Svalbard,2026-10-01T01:40:00Z,2026-10-01T01:50:00Z,
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def refused(file: Path) -> str:
    with pytest.raises(DefinitionError) as error:
        read_reference([file])
    return str(error.value).replace(str(file), file.name)


def test_yaml_lists_tables_and_csv_is_one(write) -> None:
    tables = read_reference([write("sites.yaml", SITES), write("contacts-2026-10.csv", CONTACTS)])

    assert tables["entities"]["link-1"] == {
        "entity": "link-1", "kind": "link", "site": "Kiruna", "customer": "acme", "zone": "Europe/Stockholm",
        "attrs": {"latency_target_ms": "45", "note": "north"},
    }
    assert tables["entities"]["7"]["zone"] == "UTC"
    assert tables["maintenance"][3] == {
        "id": 3, "entity": "link-1", "start": datetime(2026, 10, 3, tzinfo=UTC), "end": datetime(2026, 10, 3, 4, tzinfo=UTC),
        "reason": "planned", "cancelled": 1,
    }
    assert [(row["station"], row["required_snr_db"]) for row in tables["contacts"].values()] == [
        ("Kiruna, north", 8.5), ("Svalbard", 0)
    ]


def test_zones_are_looked_up_once_however_many_rows_have_one(write, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    zones.cache_clear()
    monkeypatch.setattr(zoneinfo, "available_timezones", lambda: looks.append(1) or {"UTC", "Europe/Stockholm"})
    rows = "".join(f"link-{number},Europe/Stockholm\n" for number in range(100))
    try:
        tables = read_reference([write("entities.csv", f"entity,zone\n{rows}")])
    finally:
        zones.cache_clear()
    assert len(tables["entities"]) == 100
    assert len(looks) == 1


def test_csv_columns_of_attrs_become_attributes(write) -> None:
    text = "\ufeffentity,attrs.latency_target_ms,attrs.note\na,45,\nb,,\n"

    entities = read_reference([write("entities.csv", text)])["entities"]

    assert [row["attrs"] for row in entities.values()] == [{"latency_target_ms": "45"}, {}]


def test_row_without_id_has_the_same_one_every_time_and_another_when_it_moves(write) -> None:
    first = list(read_reference([write("contacts.csv", CONTACTS)])["contacts"])
    again = list(read_reference([write("contacts.csv", CONTACTS.replace("8.5", "9"))])["contacts"])
    moved = list(read_reference([write("contacts.csv", CONTACTS.replace("00:00:00Z", "00:01:00Z"))])["contacts"])

    assert first == again
    assert [id_ in first for id_ in moved] == [False, True]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "entities:\n  - entity: a\n    sight: b\n",
         "a.yaml:3: unknown key 'sight'\n  at entities[0].sight\n  hint: did you mean 'site'?"),
        ("a.yaml", "entity:\n  - entity: a\n", "a.yaml:1: unknown key 'entity'\n  at entity\n  hint: did you mean 'entities'?"),
        ("a.yaml", "entities: a\n", "a.yaml:1: 'entities' must be a list, not 'a'\n  at entities\n"
         "  hint: write '- ' before each entry of entities"),
        ("a.yaml", "entities:\n- kind: link\n", "a.yaml:2: 'entity' is missing\n  at entities[0]"),
        ("a.yaml", "entities:\n- {entity: a}\n- {entity: b}\n- {entity: a}\n",
         "a.yaml:4: 'a' is listed twice\n  at entities[2]\n  hint: it stands in a.yaml:2 too"),
        ("a.yaml", "entities:\n- {entity: a, zone: Europe/Stokholm}\n",
         "a.yaml:2: 'zone' cannot be 'Europe/Stokholm'\n  at entities[0].zone\n  hint: did you mean 'Europe/Stockholm'?"),
        ("a.yaml", "maintenance:\n- {entity: a, start: tomorrow, end: 2026-10-01}\n",
         "a.yaml:2: 'start' must be a time, not 'tomorrow'\n  at maintenance[0].start\n  hint: for example 2026-10-01"),
        ("a.yaml", "maintenance:\n- {entity: a, start: 2026-10-02, end: 2026-10-01}\n",
         "a.yaml:2: 'end' is before 'start'\n  at maintenance[0].end\n  hint: times without an offset are UTC"),
        ("a.yaml", "maintenance:\n- {id: -1, entity: a, start: 2026-10-01, end: 2026-10-01}\n",
         "a.yaml:2: 'id' must be a whole number from 0, not '-1'\n  at maintenance[0].id\n  hint: leave it out to get one"),
        ("a.yaml", "contacts:\n- {spacecraft: a, station: b, aos: 1912-04-14, los: 2026-10-01}\n",
         "a.yaml:2: 'aos' is 1912-04-14\n  at contacts[0].aos\n  hint: the database holds times from 1970 to 2106"),
        ("a.yaml", "maintenance:\n- {entity: a, start: 0001-01-01T00:00:00+02:00, end: 2026-10-01}\n",
         "a.yaml:2: 'start' must be a time, not '0001-01-01 00:00:00+02:00'\n  at maintenance[0].start"),
        ("entities.csv", "entity,site, entity\na,b,c\n",
         "entities.csv:1: column 'entity' stands twice in the header\n  hint: leave one of them out"),
        ("entities.csv", "entity,attrs.a,attrs.a\na,b,c\n", "entities.csv:1: column 'attrs.a' stands twice in the header"),
        ("entities.csv", "entity,attrs,attrs.a\na,b,c\n",
         "entities.csv:1: column 'attrs' stands beside 'attrs.a'\n  hint: keep those with a name"),
        ("contacts.csv", "id,spacecraft,station,aos,los\n" + 5000 * "9" + ",a,b,2026-10-01,2026-10-01\n",
         "contacts.csv:2: 'id' must be a whole number from 0, not '9"),
        ("a.yaml", f"contacts:\n- {{spacecraft: a, station: b, aos: 2026-10-01, los: 2026-10-02, required_snr_db: {10**400}}}",
         "a.yaml:2: 'required_snr_db' is 1"),
        ("contacts.csv", CONTACTS.replace("8.5", "strong"),
         "contacts.csv:2: 'required_snr_db' must be a number, not 'strong'\n  at required_snr_db"),
        ("contacts.csv", CONTACTS.replace('"Kiruna, north"', "Kiruna, north"),
         "contacts.csv:2: has 6 cells under a header of 5\n  hint: quote cells with commas"),
        ("contacts.csv", 'spacecraft\n"sat', "contacts.csv:2: is not CSV: unexpected end of data"),
        ("passes.csv", "a\n", "passes.csv: is no table by its name\n  hint: a CSV file is named entities, maintenance"),
        ("a.yaml", "entities: [", "a.yaml:1: is not YAML: expected the node content, but found '<stream end>'"),
    ],
)  # fmt: skip
def test_mistake_is_named_with_file_line_and_hint(write, name: str, text: str, expected: str) -> None:
    file = write(name, text)

    assert refused(file).replace(str(file.parent) + "/", "").startswith(expected)


def test_every_mistake_is_found_at_once(write) -> None:
    mistakes = Mistakes()
    rows = read_reference([write("a.yaml", "entities:\n- {}\n- {entity: a}\n- {entity: b, zone: x}\n")], mistakes)

    assert list(rows["entities"]) == ["a"]
    assert [error.line for error in mistakes.found()] == [2, 4]


def test_absent_or_binary_file_is_a_mistake(tmp_path: Path, write) -> None:
    assert refused(tmp_path / "none.yaml") == "none.yaml: cannot be read: No such file or directory"
    (tmp_path / "latin.csv").write_bytes(b"entity\n\xe9\n")
    assert refused(tmp_path / "latin.csv") == "latin.csv:2: is not UTF-8 text: invalid continuation byte"


def test_loading_again_changes_nothing_and_removal_is_visible(database: str, write) -> None:
    tables = read_reference([write("sites.yaml", SITES), write("contacts.csv", CONTACTS)])
    with connect(database) as client:
        client.command("INSERT INTO entities (entity, kind) VALUES ('by-hand', 'rack')")

        changes = load_reference(client, tables)
        assert [str(change) for change in changes] == [
            "entities: 2 new, 0 changed, 0 deleted", "maintenance: 2 new, 0 changed, 0 deleted",
            "contacts: 2 new, 0 changed, 0 deleted",
        ]
        versions = client.query("SELECT entity, version FROM entities FINAL ORDER BY entity").result_rows
        assert load_reference(client, tables) == []
        assert client.query("SELECT entity, version FROM entities ORDER BY entity").result_rows == versions

        fewer = read_reference([write("entities.csv", "entity,site\nlink-1,Esrange\n")])
        assert [str(change) for change in load_reference(client, fewer)] == ["entities: 0 new, 1 changed, 1 deleted (7)"]
        found = client.query("SELECT entity, site, attrs FROM entities FINAL ORDER BY entity").result_rows
        assert found == [("by-hand", "", {}), ("link-1", "Esrange", {})]
        assert client.command("SELECT count() FROM contacts FINAL") == 2       # no file lists that table any more: left alone

        nothing = read_reference([write("none.yaml", "entities: []\ncontacts:\n")])
        load_reference(client, nothing, prune=True)
        assert client.query("SELECT entity FROM entities FINAL").result_rows == [("by-hand",)]
        assert client.command("SELECT count() FROM contacts FINAL") == 0
        assert [str(change) for change in load_reference(client, tables)][:1] == ["entities: 2 new, 0 changed, 0 deleted"]


def test_more_than_half_is_deleted_only_when_asked(database: str, write) -> None:
    listed = "".join(f"- {{entity: link-{number}}}\n" for number in range(7))
    one = "entities:\n- {entity: link-0, site: new}\n- {entity: link-9}\n"
    with connect(database) as client:
        load_reference(client, read_reference([write("a.yaml", f"entities:\n{listed}"), write("contacts.csv", CONTACTS)]))
        before = client.query("SELECT * FROM entities FINAL ORDER BY entity").result_rows
        fewer = read_reference([write("b.yaml", f"{one}contacts: []\n")])

        with pytest.raises(ConfigError) as error:
            load_reference(client, fewer)

        assert "6 of 7 entities (link-1, link-2, link-3, link-4, link-5, ...) and 2 of 2 contacts (" in str(error.value)
        assert str(error.value).endswith("if they shall go: `orbitrack migrate --prune`")
        assert client.query("SELECT * FROM entities FINAL ORDER BY entity").result_rows == before
        assert [str(change).partition(" (")[0] for change in load_reference(client, fewer, prune=True)] == [
            "entities: 1 new, 1 changed, 6 deleted", "contacts: 0 new, 0 changed, 2 deleted"
        ]
        assert load_reference(client, fewer) == []


def test_store_goes_on_where_most_rows_would_be_deleted_and_migrate_says_how(
    database: str, write, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(load_reference_rows(Database(dsn=database), read_reference([write("sites.yaml", SITES)])))
    sites = write("sites.yaml", "entities: []\n")
    config = write("orbitrack.toml", f'[database]\ndsn = "{database}"\n[reference]\nfiles = ["*.yaml"]\n')
    caplog.clear()

    asyncio.run(load_reference_rows(Database(dsn=database), read_reference([sites])))
    refusal = CliRunner().invoke(main, ["--config", str(config), "migrate"])
    pruned = CliRunner().invoke(main, ["--config", str(config), "migrate", "--prune"])

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "no longer list 2 of 2 entities (7, link-1): they were not deleted" in caplog.text
    assert refusal.exit_code == 2
    assert "hint: is a file missing in [reference] files? if they shall go: `orbitrack migrate --prune`" in refusal.output
    assert "loaded entities: 0 new, 0 changed, 2 deleted (7, link-1)" in pruned.output


def test_migrate_loads_what_the_configuration_names_and_check_judges_it(database: str, write, tmp_path: Path) -> None:
    write("sites.yaml", SITES)
    config = write("orbitrack.toml", f'[database]\ndsn = "{database}"\n[reference]\nfiles = ["*.yaml"]\n')

    first = CliRunner().invoke(main, ["--config", str(config), "migrate"])
    again = CliRunner().invoke(main, ["--config", str(config), "migrate"])
    check = CliRunner().invoke(main, ["--config", str(config), "check"])
    alone = CliRunner().invoke(main, ["check", str(tmp_path / "sites.yaml")])

    assert "loaded entities: 2 new, 0 changed, 0 deleted\nloaded maintenance: 2 new" in first.output
    assert "loaded" not in again.output
    assert "reference: 2 entities, 2 maintenance" in check.output
    assert f"{tmp_path / 'sites.yaml'}: 2 entities, 2 maintenance" in alone.output


def test_store_loads_them_at_its_start_and_says_so(database: str, write, caplog: pytest.LogCaptureFixture) -> None:
    tables = read_reference([write("sites.yaml", SITES)])

    asyncio.run(load_reference_rows(Database(dsn=database), tables))

    assert [record.getMessage() for record in caplog.records] == [
        "loaded entities: 2 new, 0 changed, 0 deleted", "loaded maintenance: 2 new, 0 changed, 0 deleted"
    ]


def test_store_does_not_wait_for_anything_with_a_mistake_in_a_file(write, tmp_path: Path) -> None:
    write("sites.yaml", "entities:\n- {entity: a, sight: b}\n")
    config = write("orbitrack.toml", '[kafka]\nbootstrap = "127.0.0.1:1"\n[reference]\nfiles = ["sites.yaml"]\n')

    store = subprocess.run(
        [sys.executable, "-m", "streams.cli", "--config", config, "store"], env=environment(data_dir=tmp_path / "data"),
        capture_output=True, text=True, timeout=120, check=False,
    )

    assert store.returncode == 2
    assert store.stderr.endswith("sites.yaml:2: unknown key 'sight'\n  at entities[0].sight\n  hint: did you mean 'site'?\n")


def test_rows_of_a_cluster_are_deleted_where_they_lie() -> None:
    assert cluster_of("Distributed('main', 'orbitrack', 'entities_local', cityHash64(entity))") == "main"
    assert cluster_of("ReplacingMergeTree(version) ORDER BY entity") is None


def test_deletion_parses_for_a_server_and_for_a_cluster(database: str) -> None:
    keys = {"keys": ("a", "b'c")}
    with connect(database) as client:
        for table in ("entities", "maintenance", "contacts"):
            assert f"ALTER TABLE {table}_local ON CLUSTER 'main' DELETE WHERE" in delete_statement(table, "main")
            for cluster in (None, "main"):
                client.query("EXPLAIN AST " + delete_statement(table, cluster), parameters=keys)

"""Enterprise elements: the table of them, and what becomes of their octets."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from framecodec.netflow import NetflowDecoder
from streams.cli import main
from streams.decode import netflow_decoder, open_decoder
from streams.elements import load_elements
from streams.errors import DefinitionError
from tests.netflow_messages import a_set, ipfix, template, v9
from tests.racks import frames, taken

PEN = 64_999
RECEIVED_NS = 1_700_000_000 * 10**9
DOMAIN = "192.0.2.9/domain/7"


def rows(body: bytes, decoder: Any) -> dict[str, list[dict[str, Any]]]:
    return taken(decoder.decode(frames([(RECEIVED_NS, "192.0.2.9", body)], "netflow")))


def samples(body: bytes, decoder: Any) -> list[tuple[str, str, Any, str | None]]:
    """Entity, metric, value or text, and unit."""
    found = rows(body, decoder)["samples"]
    return [(row["entity"], row["metric"], row["text"] if row["value"] is None else row["value"], row["unit"]) for row in found]


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "vendor.yaml"
    path.write_text(text)
    return path


ONE_OF_EACH = f"""
- enterprise: {PEN}
  vendor: example
  elements:
    - {{element: 1, name: level, type: unsigned16, unit: percent}}
    - {{element: 2, name: change, type: signed32}}
    - {{element: 3, name: ratio, type: float32}}
    - {{element: 4, name: exact, type: float64}}
    - {{element: 5, name: enabled, type: boolean}}
    - {{element: 6, name: application, type: string}}
    - {{element: 7, name: token, type: octetArray}}
    - {{element: 8, name: station, type: macAddress}}
    - {{element: 9, name: proxy, type: ipv4Address}}
    - {{element: 10, name: proxy6, type: ipv6Address}}
    - {{element: 11, column: flow_id, type: unsigned64}}
"""


def test_every_type_becomes_a_sample_of_the_interface_and_a_column_is_filled(tmp_path: Path) -> None:
    decoder = NetflowDecoder(enterprise=load_elements(table(tmp_path, ONE_OF_EACH)), derive=False)
    lengths = (2, 4, 4, 8, 1, 0xFFFF, 3, 6, 4, 16, 8)
    specs = [(number, length, PEN) for number, length in enumerate(lengths, 1)]
    record = struct.pack(">IHifdB", 3, 77, -5, 0.5, 1e-9, 1) + b"\x06e-mail" + b"\x00\xab\xff"
    record += bytes([2, 0, 0, 0, 0, 1, 10, 0, 0, 7]) + bytes.fromhex("20010db8" + 23 * "0" + "1") + struct.pack(">Q", 4242)
    body = ipfix(a_set(2, template(256, (10, 4), *specs)), a_set(256, record))

    out = samples(body, decoder)

    entity = "192.0.2.9/if/3"
    assert out == [
        (entity, "level", 77.0, "percent"), (entity, "change", -5.0, None), (entity, "ratio", 0.5, None),
        (entity, "exact", 1e-9, None), (entity, "enabled", 1.0, None), (entity, "application", "e-mail", None),
        (entity, "token", "00abff", None), (entity, "station", "02:00:00:00:00:01", None), (entity, "proxy", "10.0.0.7", None),
        (entity, "proxy6", "2001:db8::1", None),
    ]  # fmt: skip
    (flow,) = rows(body, decoder)["flows"]
    assert (flow["flow_id"], flow["in_if"]) == (4242, 3)


def test_numbers_of_reduced_size_keep_their_sign_and_what_is_no_value_gives_no_row(tmp_path: Path) -> None:
    decoder = NetflowDecoder(enterprise=load_elements(table(tmp_path, ONE_OF_EACH)), derive=False)
    specs = [(2, 2, PEN), (1, 1, PEN), (5, 1, PEN), (3, 4, PEN), (8, 4, PEN), (4, 2, PEN)]
    record = struct.pack(">hBB", -300, 9, 3) + struct.pack(">f", float("nan")) + bytes(4) + bytes(2)
    body = ipfix(a_set(2, template(256, *specs)), a_set(256, record))

    assert samples(body, decoder) == [(DOMAIN, "change", -300.0, None), (DOMAIN, "level", 9.0, "percent")]


def test_elements_that_nobody_named_are_kept_as_octets_on_request_and_left_out_otherwise() -> None:
    record = bytes([192, 0, 2, 1, 1, 2, 255, 2]) + b"hi"
    body = ipfix(a_set(2, template(256, (8, 4), (1, 3, PEN), (2, 0xFFFF, PEN))), a_set(256, record))
    kept = NetflowDecoder(keeps_unknown=True, derive=False)

    assert samples(body, kept) == [
        (DOMAIN, f"enterprise_{PEN}_1", "0102ff", None),
        (DOMAIN, f"enterprise_{PEN}_2", "6869", None),
    ]
    assert samples(body, NetflowDecoder(derive=False)) == []
    assert [row["src_addr"][-4:] for row in rows(body, kept)["flows"]] == [bytes([192, 0, 2, 1])]


def test_long_octets_are_cut_and_reverse_and_standard_elements_are_nobodys() -> None:
    decoder = NetflowDecoder(keeps_unknown=True, derive=False)
    of_vendor = v9(a_set(0, template(256, (400, 2), (33_000, 300))), a_set(256, bytes(302)))
    assert samples(of_vendor, decoder) == [(DOMAIN, "enterprise_0_33000", "00" * 128, None)]
    of_nobody = ipfix(a_set(2, template(257, (1, 4), (85, 4, 29305), (400, 2))), a_set(257, bytes(10)))
    assert samples(of_nobody, decoder) == []


def test_latencies_of_nprobe_are_known_in_ipfix_and_in_v9() -> None:
    decoder = NetflowDecoder(enterprise=load_elements(), derive=False)
    in_ipfix = ipfix(a_set(2, template(256, (10, 4), (123, 4, 35632))), a_set(256, struct.pack(">II", 9, 12)))
    in_v9 = v9(a_set(0, template(256, (10, 4), (57595, 4))), a_set(256, struct.pack(">II", 9, 13)))
    assert samples(in_ipfix, decoder) == [("192.0.2.9/if/9", "ntop_client_nw_latency_ms", 12.0, "ms")]
    assert samples(in_v9, decoder) == [("192.0.2.9/if/9", "ntop_client_nw_latency_ms", 13.0, "ms")]


def test_an_own_table_comes_before_the_one_that_orbitrack_has(tmp_path: Path) -> None:
    own = "- {enterprise: 35632, elements: [{element: 123, name: rtt_ms, type: unsigned32, unit: ms}]}"
    known = load_elements(table(tmp_path, own))
    assert known[35632, 123] == ("rtt_ms", "unsigned", "ms")
    assert known[35632, 124] == ("ntop_server_nw_latency_ms", "unsigned", "ms")


def listed(*elements: str) -> str:
    return "- enterprise: 1\n  elements:\n" + "".join(f"    - {{{element}}}\n" for element in elements)


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        (listed("element: 1, nmae: a, type: string"), 3, "unknown key 'nmae'", "did you mean 'name'?"),
        (listed("element: 1, name: a, type: unsigned"), 3, "'type' cannot be 'unsigned'", "unsigned"),
        (listed("element: 1.5, name: a, type: string"), 3, "'element' is 1.5", "whole number"),
        (listed("element: 1, column: src_addr, type: unsigned8"), 3, "'column' cannot be 'src_addr'", "did you mean 'src_as'?"),
        (listed("element: 1, column: bytes, type: string"), 3, "'type' is string", "unsigned numbers"),
        (listed("element: 1, name: a, column: bytes, type: string"), 3, "exclude each other", "keep"),
        (listed(*["element: 1, name: a, type: string"] * 2), 4, "element 1 of enterprise 1 is listed twice", None),
        ("- enterprise: 5000000000\n  elements: []", 1, "'enterprise' is 5000000000", "at most 4.29497e+09"),
        ("- enterprise: 29305\n  elements: []", 1, "29305 stands for the reverse direction", "RFC 5103"),
        ("- enterprise: 0\n  elements:\n  - {element: 8, name: a, type: string}", 3, "element 8 of enterprise 0", "32768"),
        ("- enterprise: 1", 1, "'elements' is missing", None),
        ("elements: [", 1, "is not YAML", None),
        ("enterprise: 1", 1, "must be a list", "- "),
    ],
)
def test_a_malformed_table_is_refused_with_file_and_line(
    tmp_path: Path, text: str, line: int, what: str, hint: str | None
) -> None:
    path = table(tmp_path, text)
    with pytest.raises(DefinitionError) as caught:
        load_elements(path)
    assert caught.value.file == path or str(caught.value.file) == str(path)
    assert (caught.value.line, what in str(caught.value)) == (line, True), caught.value
    assert hint is None or hint in str(caught.value.hint)


def test_a_table_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        load_elements(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"# a comment\n# \xe9\n")
    with pytest.raises(DefinitionError, match="is not UTF-8") as caught:
        load_elements(tmp_path / "latin.yaml")
    assert caught.value.line == 2


def test_a_link_names_its_table_and_its_transport(tmp_path: Path) -> None:
    from streams.config import Link

    path = table(tmp_path, ONE_OF_EACH)
    keys = {"listen": "tcp://127.0.0.1:4739", "elements": str(path), "unknown_elements": "keep"}
    link = Link.model_validate({"name": "edge", "codec": "netflow", **keys}, context={"base": tmp_path, "environ": {}})
    specs = ((1, 2, PEN), (99, 1, PEN))
    bodies = [
        ipfix(a_set(2, template(256, *specs)), a_set(256, b"\x00\x07\xaa\x00")),
        ipfix(a_set(2, struct.pack(">HH", 256, 0))),
        ipfix(a_set(256, b"\x00\x08\xaa\x00")),
    ]
    decoder = netflow_decoder(link, derive=False)
    found = [samples(body, decoder) for body in bodies]
    assert found[0] == [(DOMAIN, "level", 7.0, "percent"), (DOMAIN, f"enterprise_{PEN}_99", "aa", None)]
    assert found[2] == []                    # withdrawn, as over TCP it may be
    assert decoder.counters()["held_bytes"] > 0


@pytest.mark.parametrize("keys", [{"elements": "vendor.yaml"}, {"unknown_elements": "keep"}])
def test_elements_mean_nothing_for_other_codecs(tmp_path: Path, keys: dict[str, str]) -> None:
    from pydantic import ValidationError

    from streams.config import Link

    table(tmp_path, ONE_OF_EACH)
    with pytest.raises(ValidationError, match="means nothing for codec sflow"):
        Link.model_validate({"name": "a", "codec": "sflow", **keys}, context={"base": tmp_path, "environ": {}})


def test_check_names_every_mistake_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path, listed("element: 1, name: a, type: strnig", "element: 2, nmae: b, type: string"))
    (tmp_path / "orbitrack.toml").write_text(f'[[link]]\nname = "edge"\ncodec = "netflow"\nelements = "{path.name}"\n')
    for arguments in (["--config", str(tmp_path / "orbitrack.toml"), "check"], ["check", str(path)]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert f"{path}:3: 'type' cannot be 'strnig'" in result.stderr
        assert f"{path}:4: unknown key 'nmae'" in result.stderr
    path.write_text(ONE_OF_EACH)
    assert f"{path}: 11 enterprise elements" in CliRunner().invoke(main, ["check", str(path)]).stdout


def test_a_worker_does_not_start_with_a_malformed_table(tmp_path: Path) -> None:
    from streams.config import Link

    path = table(tmp_path, listed("element: 1, name: a, type: strnig"))
    context = {"base": tmp_path, "environ": {}}
    link = Link.model_validate({"name": "edge", "codec": "netflow", "elements": str(path)}, context=context)
    with pytest.raises(DefinitionError, match="'type' cannot be 'strnig'"):
        open_decoder(link)                   # which the worker does for each link before it waits for Kafka


def test_the_worker_opens_such_a_link() -> None:
    from streams.config import Link

    assert open_decoder(Link.model_validate({"name": "edge", "codec": "netflow"})).snapshot()

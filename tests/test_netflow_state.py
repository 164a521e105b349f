"""What the NetFlow decoder remembers, at its bounds: templates, domains, and sets that wait for a template."""

from __future__ import annotations

import random
import struct
from typing import Any

from framecodec.netflow import NetflowDecoder
from tests.netflow_messages import ROW, SIMPLE, a_set, fields, template, v9
from tests.racks import Datagram, frames, taken

RECEIVED_NS = 1_700_000_000_000_000_000


def send(*bodies: bytes, decoder: NetflowDecoder, finish: bool = True) -> dict[str, list[dict[str, Any]]]:
    rows: list[Datagram] = [(RECEIVED_NS, "192.0.2.9", body) for body in bodies]
    out = taken(decoder.decode(frames(rows, "netflow")))
    for name, found in taken(decoder.finish()).items() if finish else ():
        out[name] += found
    return out


def test_sets_of_exporters_that_fell_silent_are_given_up_too() -> None:
    decoder = NetflowDecoder()
    silent: list[Datagram] = [(RECEIVED_NS, f"192.0.2.{index}", v9(a_set(256, ROW), domain=index)) for index in range(20)]
    decoder.decode(frames(silent, "netflow"))
    early = taken(decoder.decode(frames([(RECEIVED_NS + 3500 * 10**9, "192.0.2.99", v9())], "netflow")))
    assert early["rejects"] == []
    late = taken(decoder.decode(frames([(RECEIVED_NS + 3601 * 10**9, "192.0.2.99", v9(sequence=2))], "netflow")))
    assert [(row["source"], row["reason"], row["time"].value) for row in late["rejects"]] == [
        (f"192.0.2.{index}", "template_unknown", RECEIVED_NS) for index in range(20)
    ]
    assert decoder.counters()["held_bytes"] == 0


def test_sets_of_domains_that_are_forgotten_are_told() -> None:
    decoder = NetflowDecoder(derive=False)
    send(*(v9(a_set(256, ROW), domain=index) for index in range(3)), decoder=decoder, finish=False)
    rest = send(*(v9(domain=index) for index in range(3, (1 << 16) + 2)), decoder=decoder, finish=False)
    assert [row["detail"] for row in rest["rejects"]] == [f"no template 256 came for domain {index}" for index in range(2)]
    counters = decoder.counters()
    assert (counters["domains"], counters["forgotten_domains"]) == (1 << 16, 2)


def test_memory_of_templates_is_bounded_for_domains_that_are_known() -> None:
    decoder = NetflowDecoder(derive=False)
    domains = range(8)
    send(*(v9(domain=domain) for domain in domains), decoder=decoder)
    body = fields(*[(1, 1)] * 1000)
    sets = [a_set(0, struct.pack(">HH", number, 1000) + body) for number in range(256, 1231)]
    for domain in domains:
        send(*(v9(*sets[first : first + 15], domain=domain) for first in range(0, len(sets), 15)), decoder=decoder)
    assert decoder.counters()["forgotten_domains"] > 0
    assert decoder.counters()["template_bytes"] <= 1 << 28


def test_templates_that_are_defined_again_stay_when_others_fill_the_domain() -> None:
    def definitions(numbers: range) -> bytes:
        return v9(a_set(0, b"".join(template(number, *SIMPLE) for number in (256, *numbers))))

    decoder = NetflowDecoder()
    for first in range(300, 20_300, 1000):
        send(definitions(range(first, first + 1000)), decoder=decoder)
        following = NetflowDecoder()
        following.restore(decoder.snapshot())
        decoder = following
    out = send(v9(a_set(256, ROW), a_set(20_299, ROW), a_set(18_500, ROW), a_set(300, ROW)), decoder=decoder)
    assert [row["bytes"] for row in out["flows"]] == [1000] * 3
    assert [row["detail"] for row in out["rejects"]] == ["no template 300 came for domain 7"]


def test_interfaces_of_flows_take_no_room_of_sampling_rates() -> None:
    scope = a_set(1, struct.pack(">HHH", 257, 4, 4) + fields((2, 4), (34, 4))) + a_set(257, struct.pack(">II", 9, 64))
    decoder = NetflowDecoder(derive=False)
    send(v9(scope, a_set(0, template(256, (10, 4)))), decoder=decoder)
    before = len(decoder.snapshot())
    out = send(v9(a_set(256, struct.pack(">5000I", *range(5000)))), decoder=decoder)
    assert [row["in_if"] for row in out["flows"] if row["sampling_rate"] == 64] == [9]
    assert len(decoder.snapshot()) == before


def test_sets_that_wait_for_many_templates_come_in_the_order_of_templates_then_arrival() -> None:
    numbers = list(range(256, 1256))
    chance = random.Random(7)
    held = [(chance.choice(numbers), index) for index in range(3000)]
    decoder = NetflowDecoder()
    for start in range(0, len(held), 500):
        sets = [a_set(number, ROW[:8] + struct.pack(">I", index)) for number, index in held[start : start + 500]]
        assert send(v9(*sets, sequence=start // 500), decoder=decoder, finish=False)["flows"] == []
        following = NetflowDecoder()
        following.restore(decoder.snapshot())
        assert following.counters()["held_bytes"] == decoder.counters()["held_bytes"] > 0
        decoder = following
    chance.shuffle(numbers)
    gone = numbers.pop()
    body = v9(a_set(0, b"".join(template(number, *SIMPLE) for number in numbers)), sequence=6)
    out = send(body, decoder=decoder)
    assert [row["bytes"] for row in out["flows"]] == [index for one in numbers for number, index in held if number == one]
    assert len(out["rejects"]) == sum(number == gone for number, _ in held)
    assert decoder.counters()["held_bytes"] == 0

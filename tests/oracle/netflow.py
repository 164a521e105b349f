"""NetFlow v5, v9 and IPFIX, slow and obvious: what the compiled decoder is compared with.

Written from RFC 3954, RFC 7011 and the column rules of the design, one record and one field at a time. `decode` takes whole
inputs only: a set whose template is nowhere before it is decoded at the first later template, as the real thing does.

    flows, unknown = decode([(received_ns, sender, payload), ...])
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Any

REVERSE = 29305


@dataclass
class Header:
    version: int
    domain: int
    sequence: int
    uptime_ms: int
    export_ns: int
    received_ns: int | None
    exporter: str


@dataclass
class State:
    """What one exporter has told about one domain."""

    templates: dict[int, Any] = field(default_factory=dict)
    held: list[Any] = field(default_factory=list)
    default_rate: int = 0
    samplers: dict[int, int] = field(default_factory=dict)
    interfaces: dict[int, int] = field(default_factory=dict)
    system_init_ms: int | None = None


Element = tuple[int, int, bytes]  # enterprise, element, octets

# column: the elements that fill it, the first that is there does
NUMBERS = {
    "bytes": (1, 85, 23, 231), "packets": (2, 86, 24), "dropped": (133, 135), "protocol": (4,), "tos": (5,), "tcp_flags": (6,),
    "src_port": (7, 180, 182), "dst_port": (11, 181, 183), "in_if": (10, 252), "out_if": (14, 253), "src_as": (16,),
    "dst_as": (17,), "next_as": (128,), "ttl": (192, 52), "flow_label": (31,), "fragment_id": (54,), "fragment_offset": (88,),
    "vlan_id": (58, 243), "dst_vlan": (59, 254), "direction": (61,), "forwarding_status": (89,), "end_reason": (136,),
    "in_vrf": (234,), "out_vrf": (235,), "flow_id": (148,), "observation_point": (138,), "ethertype": (256,),
}  # fmt: skip
ADDRESSES = {"src_addr": (8, 27), "dst_addr": (12, 28), "next_hop": (15, 62), "bgp_next_hop": (18, 63)}
MASKS = {"src_mask": (9, 29), "dst_mask": (13, 30)}
MACS = {"src_mac": (56, 81), "dst_mac": (80, 57)}
TIMES = {"time_start": (156, 154, 152, 150, 22, 158), "time_end": (157, 155, 153, 151, 21, 159)}
WIDTHS = {
    "bytes": 8, "packets": 8, "dropped": 8, "protocol": 1, "tos": 1, "tcp_flags": 2, "src_port": 2, "dst_port": 2, "in_if": 4,
    "out_if": 4, "src_as": 4, "dst_as": 4, "next_as": 4, "ttl": 1, "flow_label": 4, "fragment_id": 4, "fragment_offset": 2,
    "vlan_id": 2, "dst_vlan": 2, "direction": 1, "forwarding_status": 1, "end_reason": 1, "in_vrf": 4, "out_vrf": 4,
    "flow_id": 8,
    "observation_point": 8, "ethertype": 2, "src_mask": 1, "dst_mask": 1,
}  # fmt: skip
ONE_WAY = {
    "bytes", "packets", "dropped", "tcp_flags", "tos", "ttl", "next_hop", "bgp_next_hop", "next_as", "flow_label",
    "fragment_id",
    "fragment_offset", "direction", "icmp_type", "icmp_code", "mpls_labels",
}  # fmt: skip
ENDS = ("addr", "port", "mac", "vlan", "as", "mask")


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def address(octets: bytes) -> str | None:
    return str(ipaddress.ip_address(octets)) if len(octets) in (4, 16) else None


def time_ns(element: int, octets: bytes, header: Header, system_init_ms: int | None) -> int | None:
    value = number(octets)
    if element in (21, 22):
        if header.version == 10:
            return None if system_init_ms is None else 1_000_000 * (system_init_ms + value)
        ago = (header.uptime_ms - value) % 2**32
        return header.export_ns - 1_000_000 * (ago if ago < 2**31 else ago - 2**32)
    if element in (158, 159):
        return header.export_ns - 1000 * value
    if value == 0:
        return None
    # Beyond 64 bits of nanoseconds, the year 2262, there is no time.
    if element in (150, 151):
        return 10**9 * value if value <= 9_200_000_000 else None
    if element in (152, 153):
        return 10**6 * value if value <= 9_200_000_000_000 else None
    if len(octets) != 8:
        return None
    if element in (154, 155):
        value &= ~0x7FF
    era = 0 if value >> 63 else 2**32
    return 10**9 * (era + (value >> 32) - 2_208_988_800) + ((value & 0xFFFFFFFF) * 10**9 >> 32)


def columns(header: Header, elements: list[Element], state: State) -> dict[str, Any]:
    """One direction of one record; absent columns are not in the result."""
    present: dict[int, list[bytes]] = {}
    for _, element, value in elements:
        if value:
            present.setdefault(element, []).append(value)
    octets: bytes | None
    row: dict[str, Any] = {}

    def first(candidates: tuple[int, ...]) -> bytes | None:
        return next((present[element][0] for element in candidates if element in present), None)

    for column, candidates in NUMBERS.items():
        octets = first(candidates)
        if column in ("vlan_id", "dst_vlan"):
            octets = next((one for _, element, one in elements if element in candidates and one), None)
        if octets is not None and number(octets) < 256 ** WIDTHS[column]:
            row[column] = number(octets)
    for column, candidates in (ADDRESSES | MASKS).items():
        in_order = [one for _, element, one in elements if element in candidates and one]
        octets = next((one for one in in_order if number(one)), in_order[0] if in_order else None)
        if octets is not None:
            row[column] = address(octets) if column in ADDRESSES else number(octets)
    for column, candidates in MACS.items():
        octets = first(candidates)
        if octets is not None:
            row[column] = octets
    for column, candidates in TIMES.items():
        chosen = next((element for element in candidates if element in present), None)
        if chosen is not None:
            start_ms = number(present[160][0]) if 160 in present else state.system_init_ms
            found_ns = time_ns(chosen, present[chosen][0], header, start_ms)
            if found_ns is not None:
                row[column] = found_ns
    for joint in [octets for _, element, octets in elements if element in (32, 139) and octets]:
        if number(joint) or "icmp_type" not in row:
            row["icmp_type"], row["icmp_code"] = divmod(number(joint), 256)
    for column, pair in (("icmp_type", (176, 178)), ("icmp_code", (177, 179))):
        alone = next((octets for _, element, octets in elements if element in pair and octets), None)
        if alone is not None:
            row[column] = number(alone)
    labels = []
    for element in range(70, 80):
        label = number(present[element][0]) if element in present else 0
        if label:
            labels.append(label >> 4)
            if label & 1:
                break
    if labels:
        row["mpls_labels"] = labels
    row.update(sampling(present, row, state))
    if "ethertype" not in row:
        seen = row.get("src_addr") or row.get("dst_addr")
        if seen and (8 in present or 12 in present or 27 in present or 28 in present):
            row["ethertype"] = 0x86DD if ":" in seen else 0x0800
    return {column: value for column, value in row.items() if value is not None}


def nearest(whole: int, part: int) -> int:
    return (whole + part // 2) // part


def sampling(present: dict[int, list[bytes]], row: dict[str, Any], state: State) -> dict[str, int]:
    rate = next((number(o) for e in (34, 50, 305) for o in present.get(e, []) if number(o)), 0)
    if rate and 306 in present:
        rate = nearest(number(present[306][0]) + rate, rate)
    named = [number(octets) for element in (48, 302) for octets in present.get(element, [])]
    for sampler in named:
        rate = rate or state.samplers.get(sampler, 0)
    if not rate:
        rate = state.interfaces.get(row.get("out_if" if row.get("direction") == 1 else "in_if", -1), 0)
    # Without a number, or with 0, the only sampler is meant; of several nobody knows.
    if not rate:
        means_the_only_one = len(state.samplers) == 1 and (not named or 0 in named)
        rate = state.default_rate or (next(iter(state.samplers.values())) if means_the_only_one else 0)
    return {"sampling_rate": rate} if rate else {}


def rows_of_record(header: Header, elements: list[Element], state: State) -> list[dict[str, Any]]:
    """The row or, for a biflow, the two rows of a record, as decode gives them."""
    forward = columns(header, [one for one in elements if one[0] == 0], state)
    codec = {9: "netflow9", 10: "ipfix"}[header.version]
    about = {
        "codec": codec,
        "received": header.received_ns,
        "exporter": header.exporter,
        "domain": header.domain,
        "sequence": header.sequence,
    }
    rows = [about | forward]
    reverse_elements = [one for one in elements if one[0] == REVERSE]
    if reverse_elements:
        reverse = columns(header, reverse_elements, State())
        reverse.pop("sampling_rate", None)
        if "ethertype" in reverse and "ethertype" in forward:
            reverse["ethertype"] = forward["ethertype"]
        base = {column: value for column, value in forward.items() if column not in ONE_WAY}
        for end in ENDS:
            base.pop(f"src_{end}", None)
            base.pop(f"dst_{end}", None)
            for one, other in ((f"src_{end}", f"dst_{end}"), (f"dst_{end}", f"src_{end}")):
                if other in forward:
                    base[one] = forward[other]
        for one, other in (("in_if", "out_if"), ("out_if", "in_if"), ("in_vrf", "out_vrf"), ("out_vrf", "in_vrf")):
            base.pop(one, None)
            if other in forward:
                base[one] = forward[other]
        if reverse.get("packets") or reverse.get("bytes") or not {"packets", "bytes"} & reverse.keys():
            rows.append(about | base | reverse)
    return rows


def learn(elements: list[Element], state: State, is_v9: bool, scopes: list[Element]) -> None:
    """What an options record tells."""
    said = {element: number(octets) for enterprise, element, octets in elements if enterprise == 0 and octets}
    interface = sampler = None
    for _, element, octets in scopes:
        if is_v9 and element == 2:
            interface = number(octets)
        if not is_v9 and octets:
            said[element] = number(octets)
    for element in (10, 14, 252, 253):
        interface = said.get(element, interface)
    for element in (48, 302):
        sampler = said.get(element, sampler)
    if 160 in said:
        state.system_init_ms = said[160]
    rate = next((said[element] for element in (34, 50) if said.get(element)), 0)
    if said.get(305):
        rate = nearest(said[305] + said[306], said[305]) if 306 in said else said[305]
    elif said.get(309) and said.get(310):
        rate = nearest(said[310], said[309])
    elif 311 in said:
        (probability,) = struct.unpack(">d", said[311].to_bytes(8, "big"))
        rate = int(1 / probability + 0.5)
    if not rate:
        return
    if sampler is not None:
        state.samplers[sampler] = rate
    elif interface is not None:
        state.interfaces[interface] = rate
    else:
        state.default_rate = rate


def records(fields: list[tuple[int, int, int]], data: bytes) -> list[list[Element]]:
    """The records of a set's body by its template."""
    found: list[list[Element]] = []
    smallest = sum(1 if length == 0xFFFF else length for _, _, length in fields)
    is_variable = any(length == 0xFFFF for _, _, length in fields)
    while len(data) >= smallest and not (is_variable and len(data) <= 3 and not any(data)):
        record = []
        for enterprise, element, length in fields:
            if length == 0xFFFF:
                length, data = data[0], data[1:]
                if length == 255:
                    length, data = number(data[:2]), data[2:]
            if length > len(data):
                return found
            record.append((enterprise, element, data[:length]))
            data = data[length:]
        found.append(record)
    return found


def read_data(header: Header, state: State, template: Any, data: bytes) -> list[dict[str, Any]]:
    fields, scope_count, is_options = template
    rows = []
    for record in records(fields, data):
        if is_options:
            learn(record[scope_count:], state, header.version == 9, record[:scope_count])
        else:
            rows += rows_of_record(header, record, state)
    return rows


def read_templates(header: Header, state: State, data: bytes, is_options: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while len(data) >= 4:
        number_, count = struct.unpack_from(">HH", data)
        if number_ < 256 or (count == 0 and header.version == 10):
            if not any(data):
                return rows
            data = data[4:]
            continue
        scopes, at = 0, 4
        if is_options:
            (second,) = struct.unpack_from(">H", data, 4)
            at = 6
            scopes, count = (count // 4, (count + second) // 4) if header.version == 9 else (second, count)
        fields = []
        for _ in range(count):
            element, length = struct.unpack_from(">HH", data, at)
            at += 4
            enterprise = 0
            if header.version == 10 and element & 0x8000:
                element, (enterprise,) = element & 0x7FFF, struct.unpack_from(">I", data, at)
                at += 4
            fields.append((enterprise, element, length))
        data = data[at:]
        if not any(length for _, _, length in fields):
            continue
        state.templates[number_] = (fields, scopes, is_options)
        waiting, state.held = state.held, []
        for held_header, set_id, body in waiting:
            if set_id == number_:
                rows += read_data(held_header, state, state.templates[number_], body)
            else:
                state.held.append((held_header, set_id, body))
    return rows


def read_v5(header: Header, data: bytes, count: int, sampling_interval: int) -> list[dict[str, Any]]:
    rows = []
    for index in range(count):
        (
            src, dst, next_hop, in_if, out_if, packets, octets, first, last, src_port, dst_port, _, flags, protocol, tos,
            src_as, dst_as, src_mask, dst_mask, _,
        ) = struct.unpack_from(">4s4s4sHHIIIIHHBBBBHHBBH", data, 24 + 48 * index)  # fmt: skip
        row = {
            "codec": "netflow5", "received": header.received_ns, "exporter": header.exporter, "domain": header.domain,
            "sequence": header.sequence,
            "src_addr": address(src), "dst_addr": address(dst), "next_hop": address(next_hop), "in_if": in_if, "out_if": out_if,
            "packets": packets, "bytes": octets, "src_port": src_port, "dst_port": dst_port, "tcp_flags": flags,
            "protocol": protocol, "tos": tos, "src_as": src_as, "dst_as": dst_as, "src_mask": src_mask, "dst_mask": dst_mask,
            "ethertype": 0x0800, "time_start": time_ns(22, first.to_bytes(4, "big"), header, None),
            "time_end": time_ns(21, last.to_bytes(4, "big"), header, None),
        }  # fmt: skip
        if sampling_interval & 0x3FFF:
            row["sampling_rate"] = sampling_interval & 0x3FFF
        rows.append(row)
    return rows


def decode(datagrams: list[tuple[int | None, str, bytes]]) -> tuple[list[dict[str, Any]], int]:
    """All flow rows (columns that are null are absent), and how many sets never found their template."""
    states: dict[Any, State] = {}
    rows: list[dict[str, Any]] = []
    for received_ns, sender, data in datagrams:
        while len(data) >= 2:
            (version,) = struct.unpack_from(">H", data)
            if version == 5:
                count, uptime, seconds, nanos, sequence, engine, interval = struct.unpack_from(">HIIIIHH", data, 2)
                header = Header(5, engine, sequence, uptime, 10**9 * seconds + nanos, received_ns, sender)
                found = read_v5(header, data, count, interval)
                data = data[24 + 48 * count :]
            else:
                if version == 9:
                    uptime, seconds, sequence, domain = struct.unpack_from(">IIII", data, 4)
                    body, data = data[20:], b""
                else:
                    size, seconds, sequence, domain = struct.unpack_from(">HIII", data, 2)
                    uptime, body, data = 0, data[16:size], data[size:]
                header = Header(version, domain, sequence, uptime, 10**9 * seconds, received_ns, sender)
                found = read_sets(header, states.setdefault((sender, version, domain), State()), body)
            rows += found
    return rows, sum(len(state.held) for state in states.values())


def read_sets(header: Header, state: State, body: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    template_set, options_set = (0, 1) if header.version == 9 else (2, 3)
    while len(body) >= 4:
        set_id, size = struct.unpack_from(">HH", body)
        if size < 4 or size > len(body):
            return rows
        data, body = body[4:size], body[size:]
        if set_id in (template_set, options_set):
            rows += read_templates(header, state, data, set_id == options_set)
        elif set_id >= 256:
            if set_id in state.templates:
                rows += read_data(header, state, state.templates[set_id], data)
            else:
                state.held.append((header, set_id, data))
    return rows

"""Which information element fills which column of FLOWS: one table for NetFlow v9 and IPFIX.

Each line is (element, operation, column, rank): where several elements of a template can fill a column, the smallest rank
does; elements of one rank, and one element twice, go by their order in the template. elements.pyx compiles it.

Sources: the IANA registry "IP Flow Information Export (IPFIX) Entities" (from memory), RFC 3954 section 8 for NetFlow v9,
RFC 5103 for reverse elements (enterprise 29305 with the same numbers). Operations:

    number    unsigned, 1 to 8 octets; a value too large for the column is null
    either    an unsigned number or an address whose zero gives way to another element's value (IPv4 and IPv6 beside each other)
    address   the same for 4 or 16 octets
    mac       6 octets
    mpls      a label of 3 octets, its place in the stack is the element's number
    seconds milliseconds micros nanos   since the epoch, the latter two as NTP timestamps (RFC 7011 section 6.1)
    uptime    milliseconds since the exporter's start
    delta     microseconds before the message's export time
    icmp      type x 256 + code, into both columns
    rate      1 in N packets; 0 is unknown
    space     packets left out after `rate` packets were taken
    sampler   number of a sampler that an options record describes
    frame packet   the sampled packet itself, from its Ethernet or its IP header
    system_init    the exporter's start in milliseconds, for the uptimes of the same record
"""

from __future__ import annotations

__all__ = ["COLUMN", "ELEMENTS", "EXPORT_COUNTERS", "FORMS", "OPERATIONS", "OPTIONS", "SCOPES"]

OPERATIONS = (
    "number", "either", "address", "mac", "mpls", "seconds", "milliseconds", "micros", "nanos", "uptime", "delta",
    "icmp", "rate",
    "space", "sampler", "frame", "packet", "system_init",
)  # fmt: skip

# What the octets of an enterprise's own element are, in the order of Form in elements.pxd; or it fills a column of flows.
FORMS = ("unsigned", "signed", "float", "boolean", "string", "octets", "mac", "address")
COLUMN = "column"

ELEMENTS: tuple[tuple[int, str, str, int], ...] = (
    (1, "number", "bytes", 0), (85, "number", "bytes", 1), (23, "number", "bytes", 2), (231, "number", "bytes", 3),
    (2, "number", "packets", 0), (86, "number", "packets", 1), (24, "number", "packets", 2),
    (133, "number", "dropped", 0), (135, "number", "dropped", 1),
    (4, "number", "protocol", 0), (5, "number", "tos", 0), (6, "number", "tcp_flags", 0),
    (7, "number", "src_port", 0), (180, "number", "src_port", 1), (182, "number", "src_port", 1),
    (11, "number", "dst_port", 0), (181, "number", "dst_port", 1), (183, "number", "dst_port", 1),
    (8, "address", "src_addr", 0), (27, "address", "src_addr", 0), (12, "address", "dst_addr", 0),
    (28, "address", "dst_addr", 0),
    (9, "either", "src_mask", 0), (29, "either", "src_mask", 0), (13, "either", "dst_mask", 0), (30, "either", "dst_mask", 0),
    (10, "number", "in_if", 0), (252, "number", "in_if", 1), (14, "number", "out_if", 0), (253, "number", "out_if", 1),
    (15, "address", "next_hop", 0), (62, "address", "next_hop", 0),
    (18, "address", "bgp_next_hop", 0), (63, "address", "bgp_next_hop", 0),
    (16, "number", "src_as", 0), (17, "number", "dst_as", 0), (128, "number", "next_as", 0),
    (192, "number", "ttl", 0), (52, "number", "ttl", 1), (31, "number", "flow_label", 0),
    (32, "icmp", "icmp_type", 1), (139, "icmp", "icmp_type", 1),
    (176, "number", "icmp_type", 0), (177, "number", "icmp_code", 0),
    (178, "number", "icmp_type", 0), (179, "number", "icmp_code", 0),
    (54, "number", "fragment_id", 0), (88, "number", "fragment_offset", 0), (256, "number", "ethertype", 0),
    (56, "mac", "src_mac", 0), (81, "mac", "src_mac", 1), (80, "mac", "dst_mac", 0), (57, "mac", "dst_mac", 1),
    (58, "number", "vlan_id", 0), (243, "number", "vlan_id", 0), (59, "number", "dst_vlan", 0), (254, "number", "dst_vlan", 0),
    (61, "number", "direction", 0), (89, "number", "forwarding_status", 0), (136, "number", "end_reason", 0),
    (234, "number", "in_vrf", 0), (235, "number", "out_vrf", 0), (148, "number", "flow_id", 0),
    (138, "number", "observation_point", 0),
    (156, "nanos", "time_start", 0), (154, "micros", "time_start", 1), (152, "milliseconds", "time_start", 2),
    (150, "seconds", "time_start", 3), (22, "uptime", "time_start", 4), (158, "delta", "time_start", 5),
    (157, "nanos", "time_end", 0), (155, "micros", "time_end", 1), (153, "milliseconds", "time_end", 2),
    (151, "seconds", "time_end", 3), (21, "uptime", "time_end", 4), (159, "delta", "time_end", 5),
    (34, "rate", "sampling_rate", 0), (50, "rate", "sampling_rate", 0), (305, "rate", "sampling_rate", 0),
    (306, "space", "sampling_rate", 0), (48, "sampler", "sampling_rate", 0), (302, "sampler", "sampling_rate", 0),
    (160, "system_init", "time_start", 9), (315, "frame", "bytes", 9), (313, "packet", "bytes", 9),
    *((70 + place, "mpls", "mpls_labels", 0) for place in range(10)),
)  # fmt: skip

# What options records say, by element: the scope they are about, sampling, names.
OPTIONS: dict[int, str] = {
    34: "rate", 50: "rate", 305: "interval", 306: "space", 309: "size", 310: "population",
    311: "probability", 48: "sampler", 302: "sampler",
    10: "interface", 14: "interface", 252: "interface", 253: "interface", 82: "if_name", 83: "if_description",
    234: "vrf", 235: "vrf", 236: "vrf_name", 160: "system_init",
}  # fmt: skip

# NetFlow v9 scope types, RFC 3954 section 6.1; the others (system, line card, cache, template) narrow nothing that we keep.
SCOPES: dict[int, str] = {2: "interface"}

# Totals that exporters tell about themselves in options records: rows under <exporter>/domain/<domain>.
EXPORT_COUNTERS: dict[int, tuple[str, str]] = {
    40: ("exported_octet_total_count", "bytes"), 41: ("exported_message_total_count", "messages"),
    42: ("exported_flow_record_total_count", "flows"), 135: ("dropped_packet_total_count", "packets"),
    164: ("ignored_packet_total_count", "packets"), 165: ("ignored_octet_total_count", "bytes"),
    166: ("not_sent_flow_total_count", "flows"), 167: ("not_sent_packet_total_count", "packets"),
    168: ("not_sent_octet_total_count", "bytes"),
}  # fmt: skip

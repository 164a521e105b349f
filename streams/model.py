"""The data model: one Arrow schema for each thing that flows.

Every Kafka value and every ClickHouse insert is a record batch of one of these. Nothing else in orbitrack declares a
column: `tests/test_model.py` holds the ClickHouse tables against this file.

Times are UTC nanoseconds. Strings that repeat are dictionary-encoded with int32 indices. An absent value is null.
"""

from __future__ import annotations

import pyarrow as pa

__all__ = ["ALERTS", "FLOWS", "FRAMES", "QUALITY", "REJECTS", "REJECT_REASONS", "SAMPLES", "SCHEMAS", "WINDOWS"]

TIME = pa.timestamp("ns", tz="UTC")
NAME = pa.dictionary(pa.int32(), pa.utf8())      # a string that repeats
ADDRESS = pa.binary(16)                          # IPv6, IPv4 as ::ffff:a.b.c.d
MAC = pa.binary(6)


def schema(name: str, *fields: tuple[str, pa.DataType] | tuple[str, pa.DataType, bool]) -> pa.Schema:
    return pa.schema([pa.field(f[0], f[1], nullable=len(f) == 3 and f[2]) for f in fields], metadata={"orbitrack": name})


NULLABLE = True

# What a collector received: one row a datagram, frame or packet. `source` is the sender (an address) or the link's name.
FRAMES = schema(
    "frames",
    ("received_ns", pa.int64(), NULLABLE),       # null: a file without receive times; the device's time is then trusted
    ("source", NAME),
    ("link", NAME),                              # [[link]] name in the configuration
    ("codec", NAME),
    ("frame", pa.binary()),
)

# One measured value. Counters stay raw here; rates are made in windows.
SAMPLES = schema(
    "samples",
    ("time", TIME),                              # the device's time, or `received` where it has none or a bad one
    ("received", TIME, NULLABLE),
    ("entity", NAME),                            # <exporter>/if/<ifIndex>, <exporter>/host, <spacecraft>, <spacecraft>/vc/<id>
    ("metric", NAME),                            # the standard's name in snake case, or the XTCE path
    ("value", pa.float64(), NULLABLE),           # null where only `text` makes sense
    ("text", NAME, NULLABLE),                    # enumeration label, string
    ("kind", NAME),                              # gauge counter state text
    ("unit", NAME, NULLABLE),
    ("source", NAME),
    ("quality", pa.uint16()),                    # bits of QUALITY, 0 is good
)

FLOWS = schema(
    "flows",
    ("received", TIME, NULLABLE),
    ("exporter", NAME),
    ("domain", pa.uint32()),
    ("codec", NAME),
    ("sequence", pa.uint32()),
    ("sampling_rate", pa.uint32(), NULLABLE),
    ("time_start", TIME, NULLABLE),
    ("time_end", TIME, NULLABLE),
    ("src_addr", ADDRESS, NULLABLE),
    ("dst_addr", ADDRESS, NULLABLE),
    ("src_port", pa.uint16(), NULLABLE),
    ("dst_port", pa.uint16(), NULLABLE),
    ("protocol", pa.uint8(), NULLABLE),
    ("tcp_flags", pa.uint16(), NULLABLE),
    ("tos", pa.uint8(), NULLABLE),
    ("ttl", pa.uint8(), NULLABLE),
    ("ethertype", pa.uint16(), NULLABLE),
    ("icmp_type", pa.uint8(), NULLABLE),
    ("icmp_code", pa.uint8(), NULLABLE),
    ("flow_label", pa.uint32(), NULLABLE),
    ("fragment_id", pa.uint32(), NULLABLE),
    ("fragment_offset", pa.uint16(), NULLABLE),
    ("src_mac", MAC, NULLABLE),
    ("dst_mac", MAC, NULLABLE),
    ("vlan_id", pa.uint16(), NULLABLE),
    ("src_vlan", pa.uint16(), NULLABLE),
    ("dst_vlan", pa.uint16(), NULLABLE),
    ("mpls_labels", pa.list_(pa.field("item", pa.uint32(), nullable=False)), NULLABLE),
    ("in_if", pa.uint32(), NULLABLE),
    ("out_if", pa.uint32(), NULLABLE),
    ("in_vrf", pa.uint32(), NULLABLE),
    ("out_vrf", pa.uint32(), NULLABLE),
    ("direction", pa.uint8(), NULLABLE),
    ("next_hop", ADDRESS, NULLABLE),
    ("bgp_next_hop", ADDRESS, NULLABLE),
    ("src_as", pa.uint32(), NULLABLE),
    ("dst_as", pa.uint32(), NULLABLE),
    ("next_as", pa.uint32(), NULLABLE),
    ("src_mask", pa.uint8(), NULLABLE),
    ("dst_mask", pa.uint8(), NULLABLE),
    ("bytes", pa.uint64(), NULLABLE),
    ("packets", pa.uint64(), NULLABLE),
    ("dropped", pa.uint64(), NULLABLE),
    ("forwarding_status", pa.uint8(), NULLABLE),
    ("end_reason", pa.uint8(), NULLABLE),
    ("discard_reason", pa.uint16(), NULLABLE),
    ("flow_id", pa.uint64(), NULLABLE),
    ("observation_point", pa.uint64(), NULLABLE),
)

# One closed event-time window of one metric of one entity: [bucket, bucket + size). A higher `rev` replaces a lower one.
WINDOWS = schema(
    "windows",
    ("bucket", pa.timestamp("s", tz="UTC")),
    ("entity", NAME),
    ("metric", NAME),
    ("rev", pa.uint64()),                        # last applied source offset: deterministic and monotone per key
    ("cnt", pa.uint64()),
    ("good", pa.uint64()),                       # samples inside the SLO threshold, counted exactly; cnt where none is set
    ("expected", pa.uint64()),                   # samples that the schedule promised; 0 where none is set
    ("vsum", pa.float64()),
    ("vsumsq", pa.float64()),
    ("vmin", pa.float64()),
    ("vmax", pa.float64()),
    ("vfirst", pa.float64()),
    ("vlast", pa.float64()),
    ("last_time", TIME),
    ("increase", pa.float64()),                  # of a counter, from the sample before this window; 0 for other kinds
    ("resets", pa.uint32()),
    ("sk", pa.map_(pa.int16(), pa.field("value", pa.uint32(), nullable=False))),  # DDSketch, 1 %; keys ascending
)

# Input that could not be used. Never an exception, never a log line each.
REJECTS = schema(
    "rejects",
    ("time", TIME, NULLABLE),                    # when it was received
    ("source", NAME),
    ("reason", NAME),                            # one of REJECT_REASONS
    ("offset", pa.int64()),                      # in the file; from the worker: in the frame
    ("size_bytes", pa.int64()),                  # input given up; 0 for a remark inside an accepted frame
    ("detail", pa.utf8()),
)

# One change of state of one alert.
ALERTS = schema(
    "alerts",
    ("at", TIME),
    ("rule", NAME),
    ("fingerprint", pa.uint64()),                # FNV-1a 64 over sorted labels, as Alertmanager's
    ("seq", pa.uint32()),                        # 1, 2, ... within one (rule, fingerprint)
    ("state", NAME),                             # inactive pending firing resolved suppressed
    ("labels", pa.map_(pa.utf8(), pa.utf8())),
    ("annotations", pa.map_(pa.utf8(), pa.utf8())),
    ("value", pa.float64(), NULLABLE),
    ("starts_at", TIME),
    ("ends_at", TIME, NULLABLE),
    ("reason", pa.utf8(), NULLABLE),
)

SCHEMAS = {
    "frames": FRAMES, "samples": SAMPLES, "flows": FLOWS, "windows": WINDOWS, "rejects": REJECTS, "alerts": ALERTS,
}

QUALITY = {
    "time_substituted": 1,      # the device's time was out of bounds; `received` stands in its place
    "sampling_unknown": 2,      # volumes could not be scaled
    "out_of_range": 4,          # outside the definition's valid range
}

REJECT_REASONS = (
    # satellite
    "garbage", "truncated", "rs_uncorrectable", "bad_fecf", "frame_version", "not_packets", "partial_packet",
    "short_for_definition", "no_container",
    # rack
    "bad_length", "template_unknown", "bad_template", "record_size_0", "reserved_set", "unknown_version", "trailing_bytes",
    "fragment",
    # pipeline
    "late", "unknown_link", "bad_batch", "rows_limit",
)

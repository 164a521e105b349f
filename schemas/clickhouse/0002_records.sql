-- What was measured, seen and refused, row by row.
--
-- Identity. A row's last key columns say which Kafka record it came from and where in it, so that a repeated insert is
-- the same row again; read through v_samples and v_flows. A row inserted without them is known by its content
-- (row_hash, 0 otherwise): the same row twice is one, two different rows are two. In samples it takes only what tells rows
-- of one metric and instant apart: each further column costs every insert.
--
-- Age. `stored` is when the row was inserted, and TTLs count from there: a replayed capture of last year stays as long
-- as today's data. Both columns are left out of SELECT *.

CREATE TABLE IF NOT EXISTS samples
(
    time      DateTime64(9, 'UTC')             COMMENT 'UTC: of the device, or received where it has none or a bad one' CODEC(DoubleDelta, ZSTD(1)),
    received  Nullable(DateTime64(9, 'UTC'))   COMMENT 'UTC: when the frame reached us; null: unknown' CODEC(DoubleDelta, ZSTD(1)),
    entity    LowCardinality(String)           COMMENT 'what was measured: <exporter>/if/<ifIndex>, <exporter>/host, <spacecraft>, <spacecraft>/vc/<id>',
    metric    LowCardinality(String)           COMMENT 'the standard''s name in snake case, or the XTCE path',
    value     Nullable(Float64)                COMMENT 'in the unit of column unit; null where only text makes sense' CODEC(ZSTD(1)),
    text      LowCardinality(Nullable(String)) COMMENT 'enumeration label or string',
    kind      LowCardinality(String)           COMMENT 'gauge, counter, state or text; counters are raw here, rates are in the windows',
    unit      LowCardinality(Nullable(String)) COMMENT 'unit of value as the definition names it',
    source    LowCardinality(String)           COMMENT 'who sent it: address or link',
    quality   UInt16 DEFAULT 0                 COMMENT 'bits: 1 time substituted, 2 sampling unknown, 4 out of range; 0 is good' CODEC(T64, ZSTD(1)),
    partition UInt32 DEFAULT 0                 COMMENT 'identity: Kafka partition of topic samples' CODEC(T64, ZSTD(1)),
    offset    UInt64 DEFAULT 0                 COMMENT 'identity: Kafka offset' CODEC(Delta, ZSTD(1)),
    position  UInt32 DEFAULT 0                 COMMENT 'identity: row in that record' CODEC(Delta, ZSTD(1)),
    row_hash  UInt64 MATERIALIZED if(partition = 0 AND offset = 0 AND position = 0,
        cityHash64((received, value, text, source)), 0)
                                               COMMENT 'identity by content of a row inserted without the three above' CODEC(ZSTD(1)),
    stored    DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(time)
PRIMARY KEY (metric, entity, time)
ORDER BY (metric, entity, time, partition, offset, position, row_hash)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'one measured value';

CREATE TABLE IF NOT EXISTS flows
(
    received          Nullable(DateTime64(9, 'UTC')) COMMENT 'UTC: when the datagram reached us' CODEC(DoubleDelta, ZSTD(1)),
    exporter          LowCardinality(String)   COMMENT 'NetFlow, IPFIX: the sender; sFlow: the agent',
    domain            UInt32 DEFAULT 0         COMMENT 'source id, observation domain, sub-agent, or v5 engine type * 256 + id' CODEC(T64, ZSTD(1)),
    codec             LowCardinality(String)   COMMENT 'netflow5, netflow9, ipfix or sflow',
    sequence          UInt32 DEFAULT 0         COMMENT 'sequence number of the datagram' CODEC(Delta, ZSTD(1)),
    sampling_rate     Nullable(UInt32)         COMMENT '1 packet in this many was looked at; null: unknown' CODEC(T64, ZSTD(1)),
    time_start        Nullable(DateTime64(9, 'UTC')) COMMENT 'UTC: first packet of the flow' CODEC(DoubleDelta, ZSTD(1)),
    time_end          Nullable(DateTime64(9, 'UTC')) COMMENT 'UTC: last packet of the flow' CODEC(DoubleDelta, ZSTD(1)),
    src_addr          Nullable(IPv6)           COMMENT 'source address, IPv4 as ::ffff:a.b.c.d' CODEC(ZSTD(1)),
    dst_addr          Nullable(IPv6)           COMMENT 'destination address, IPv4 as ::ffff:a.b.c.d' CODEC(ZSTD(1)),
    src_port          Nullable(UInt16)         COMMENT 'source port' CODEC(ZSTD(1)),
    dst_port          Nullable(UInt16)         COMMENT 'destination port' CODEC(ZSTD(1)),
    protocol          Nullable(UInt8)          COMMENT 'IANA protocol number' CODEC(ZSTD(1)),
    tcp_flags         Nullable(UInt16)         COMMENT 'TCP flags, or-ed over the flow' CODEC(ZSTD(1)),
    tos               Nullable(UInt8)          COMMENT 'IPv4 TOS or IPv6 traffic class' CODEC(ZSTD(1)),
    ttl               Nullable(UInt8)          COMMENT 'TTL or hop limit, hops' CODEC(ZSTD(1)),
    ethertype         Nullable(UInt16)         COMMENT 'EtherType; implied by the addresses where not sent' CODEC(ZSTD(1)),
    icmp_type         Nullable(UInt8)          COMMENT 'ICMP type' CODEC(ZSTD(1)),
    icmp_code         Nullable(UInt8)          COMMENT 'ICMP code' CODEC(ZSTD(1)),
    flow_label        Nullable(UInt32)         COMMENT 'IPv6 flow label' CODEC(ZSTD(1)),
    fragment_id       Nullable(UInt32)         COMMENT 'IP identification' CODEC(ZSTD(1)),
    fragment_offset   Nullable(UInt16)         COMMENT 'fragment offset, 8-byte units' CODEC(ZSTD(1)),
    src_mac           Nullable(FixedString(6)) COMMENT 'source MAC, 6 bytes; hex() shows it' CODEC(ZSTD(1)),
    dst_mac           Nullable(FixedString(6)) COMMENT 'destination MAC, 6 bytes; hex() shows it' CODEC(ZSTD(1)),
    vlan_id           Nullable(UInt16)         COMMENT 'VLAN of the packet' CODEC(ZSTD(1)),
    src_vlan          Nullable(UInt16)         COMMENT 'VLAN before switching' CODEC(ZSTD(1)),
    dst_vlan          Nullable(UInt16)         COMMENT 'VLAN after switching' CODEC(ZSTD(1)),
    mpls_labels       Array(UInt32)            COMMENT '20-bit MPLS labels, top first; empty: none' CODEC(ZSTD(1)),
    in_if             Nullable(UInt32)         COMMENT 'ifIndex in' CODEC(ZSTD(1)),
    out_if            Nullable(UInt32)         COMMENT 'ifIndex out' CODEC(ZSTD(1)),
    in_vrf            Nullable(UInt32)         COMMENT 'VRF id in' CODEC(ZSTD(1)),
    out_vrf           Nullable(UInt32)         COMMENT 'VRF id out' CODEC(ZSTD(1)),
    direction         Nullable(UInt8)          COMMENT '0 ingress, 1 egress' CODEC(ZSTD(1)),
    next_hop          Nullable(IPv6)           COMMENT 'next hop, IPv4 as ::ffff:a.b.c.d' CODEC(ZSTD(1)),
    bgp_next_hop      Nullable(IPv6)           COMMENT 'BGP next hop, IPv4 as ::ffff:a.b.c.d' CODEC(ZSTD(1)),
    src_as            Nullable(UInt32)         COMMENT 'autonomous system of the source' CODEC(ZSTD(1)),
    dst_as            Nullable(UInt32)         COMMENT 'autonomous system of the destination' CODEC(ZSTD(1)),
    next_as           Nullable(UInt32)         COMMENT 'autonomous system of the next hop' CODEC(ZSTD(1)),
    src_mask          Nullable(UInt8)          COMMENT 'prefix length of the source, bits' CODEC(ZSTD(1)),
    dst_mask          Nullable(UInt8)          COMMENT 'prefix length of the destination, bits' CODEC(ZSTD(1)),
    bytes             Nullable(UInt64)         COMMENT 'bytes as exported, not scaled by sampling' CODEC(T64, ZSTD(1)),
    packets           Nullable(UInt64)         COMMENT 'packets as exported, not scaled by sampling' CODEC(T64, ZSTD(1)),
    dropped           Nullable(UInt64)         COMMENT 'packets dropped, as exported' CODEC(T64, ZSTD(1)),
    forwarding_status Nullable(UInt8)          COMMENT 'forwardingStatus, the whole octet' CODEC(ZSTD(1)),
    end_reason        Nullable(UInt8)          COMMENT 'flowEndReason' CODEC(ZSTD(1)),
    discard_reason    Nullable(UInt16)         COMMENT 'sFlow discard code' CODEC(ZSTD(1)),
    flow_id           Nullable(UInt64)         COMMENT 'flowId' CODEC(ZSTD(1)),
    observation_point Nullable(UInt64)         COMMENT 'observationPointId' CODEC(ZSTD(1)),
    partition         UInt32 DEFAULT 0         COMMENT 'identity: Kafka partition of topic flows' CODEC(T64, ZSTD(1)),
    offset            UInt64 DEFAULT 0         COMMENT 'identity: Kafka offset' CODEC(Delta, ZSTD(1)),
    position          UInt32 DEFAULT 0         COMMENT 'identity: row in that record' CODEC(Delta, ZSTD(1)),
    time              DateTime64(9, 'UTC') MATERIALIZED coalesce(time_start, time_end, received, toDateTime64(0, 9, 'UTC'))
                                               COMMENT 'UTC: time_start, else time_end, else received: what the table is sorted by' CODEC(DoubleDelta, ZSTD(1)),
    row_hash          UInt64 MATERIALIZED if(partition = 0 AND offset = 0 AND position = 0,
        cityHash64((received, exporter, domain, codec, sequence, sampling_rate, time_start, time_end, src_addr, dst_addr, src_port,
            dst_port, protocol, tcp_flags, tos, ttl, ethertype, icmp_type, icmp_code, flow_label, fragment_id, fragment_offset,
            src_mac, dst_mac, vlan_id, src_vlan, dst_vlan, mpls_labels, in_if, out_if, in_vrf, out_vrf, direction, next_hop,
            bgp_next_hop, src_as, dst_as, next_as, src_mask, dst_mask, bytes, packets, dropped, forwarding_status, end_reason,
            discard_reason, flow_id, observation_point)), 0)
                                               COMMENT 'identity by content of a row inserted without partition, offset and position' CODEC(ZSTD(1)),
    stored            DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1)),
    INDEX time_start_range time_start TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(time)
PRIMARY KEY (toStartOfHour(time), exporter, time)
ORDER BY (toStartOfHour(time), exporter, time, partition, offset, position, row_hash)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'one flow record, or one sampled packet; a field that the exporter did not send is null';

CREATE TABLE IF NOT EXISTS rejects
(
    time             Nullable(DateTime64(9, 'UTC')) COMMENT 'UTC: when it was received; null: unknown' CODEC(DoubleDelta, ZSTD(1)),
    source           LowCardinality(String)    COMMENT 'who sent it: address or link',
    reason           LowCardinality(String)    COMMENT 'why it could not be used, from the fixed list of streams/model.py',
    offset           Int64 DEFAULT 0           COMMENT 'bytes: where in the file, or in the frame' CODEC(ZSTD(1)),
    size_bytes       Int64 DEFAULT 0           COMMENT 'bytes of input given up; 0 for a remark inside an accepted frame' CODEC(ZSTD(1)),
    detail           String                    COMMENT 'what was found there' CODEC(ZSTD(1)),
    record_partition UInt32 DEFAULT 0          COMMENT 'identity: Kafka partition of topic rejects' CODEC(T64, ZSTD(1)),
    record_offset    UInt64 DEFAULT 0          COMMENT 'identity: Kafka offset' CODEC(Delta, ZSTD(1)),
    record_position  UInt32 DEFAULT 0          COMMENT 'identity: row in that record' CODEC(Delta, ZSTD(1)),
    row_hash         UInt64 MATERIALIZED if(record_partition = 0 AND record_offset = 0 AND record_position = 0,
        cityHash64((time, source, reason, offset, size_bytes, detail)), 0)
                                               COMMENT 'identity by content of a row inserted without the three above' CODEC(ZSTD(1)),
    stored           DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ifNull(time, toDateTime64(0, 9, 'UTC')))
PRIMARY KEY (source, reason)
ORDER BY (source, reason, ifNull(time, toDateTime64(0, 9, 'UTC')), record_partition, record_offset, record_position, row_hash)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'input that could not be used';

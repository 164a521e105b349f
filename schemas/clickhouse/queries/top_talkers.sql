-- title: Who made the most traffic?
-- meaning: Bytes and packets are scaled by sampling, and raw where the rate is unknown. `entity` is the exporter.
-- meaning: A flow whose exporter sends no start time (sFlow) counts from its receive time.
-- param: n positive = 10 | so many
-- param: by fields = src_addr,dst_addr | fields of flows, comma list
-- key: by
-- column: bytes | scaled by sampling; most first
-- column: packets | scaled by sampling
-- column: flows | records
-- column: share_pct | bytes of all flows of the span, not of the n
-- column: unknown_sampling_bytes | of bytes, those of flows without sampling rate
WITH
[[use span_flows]]
SELECT [[texts]], talker_bytes AS bytes, talker_packets AS packets, talker_flows AS flows, share_pct, unknown_sampling_bytes
FROM (
    SELECT [[fields]], talker_bytes, talker_packets, talker_flows, 100 * talker_bytes / nullIf(sum(talker_bytes) OVER (), 0) AS share_pct,
        unknown_sampling_bytes
    FROM (
        SELECT [[fields]], sum(scaled_bytes) AS talker_bytes, sum(scaled_packets) AS talker_packets, count() AS talker_flows,
            sum(unknown_bytes) AS unknown_sampling_bytes
        FROM span_flows
        GROUP BY [[fields]]
    )
    ORDER BY talker_bytes DESC, [[fields]]
    LIMIT {n:UInt64}
)
ORDER BY talker_bytes DESC, [[fields]]

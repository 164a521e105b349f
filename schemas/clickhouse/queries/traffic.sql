-- title: Who made the most traffic, and when?
-- meaning: Bytes and packets are scaled by sampling, and raw where the rate is unknown. `entity` is the exporter.
-- meaning: A flow whose exporter sends no start time (sFlow) counts from its receive time.
-- param: by fields = src_as | fields of flows, comma list
-- param: n positive = 10 | those with most bytes over the span
-- param: step duration = 1h | length of a step; days are local
-- key: step by
-- column: bytes | scaled by sampling
-- column: packets | scaled by sampling
-- column: flows | records
-- column: unknown_sampling_bytes | of bytes, those of flows without sampling rate
WITH
[[use span_flows]]
SELECT step, [[texts]], step_bytes AS bytes, step_packets AS packets, step_flows AS flows,
    step_unknown_bytes AS unknown_sampling_bytes
FROM (
    SELECT if({step:UInt64} % 86400 = 0,
            toDateTime(toDateTime(toDate(intDiv(toUInt16(toDate(time, {zone:String})), intDiv({step:UInt64}, 86400))
                * intDiv({step:UInt64}, 86400)), {zone:String}), 'UTC'),
            toDateTime(intDiv(toUInt32(toDateTime(time)), {step:UInt64}) * {step:UInt64}, 'UTC')
        ) AS step, [[fields]], sum(scaled_bytes) AS step_bytes, sum(scaled_packets) AS step_packets,
        count() AS step_flows, sum(unknown_bytes) AS step_unknown_bytes
    FROM span_flows
    -- First the n, then their steps: all of them in every step would be a thousand times as many groups.
    WHERE [[keys]] IN (
        SELECT [[keys]] FROM span_flows GROUP BY [[fields]] ORDER BY sum(scaled_bytes) DESC, [[fields]] LIMIT {n:UInt64}
    )
    GROUP BY step, [[fields]]
)
ORDER BY step, [[fields]]

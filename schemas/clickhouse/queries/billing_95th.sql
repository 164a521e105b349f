-- title: What bit rate is billed to each interface?
-- meaning: 95th percentile of 5 minute means: increase x 8 / 300. Slots without data are no samples. The value at rank
-- meaning: n - floor(n / 20) in ascending order, exact: the highest twentieth is free.
-- span: month
-- key: entity
-- column: samples | 5 minute slots with data of either direction
-- column: p95_in_bps | 95th percentile received
-- column: p95_out_bps | 95th percentile sent
-- column: billable_bps | the higher of the two
SELECT entity, samples,
    if(empty(received), NULL, received[length(received) - intDiv(length(received), 20)]) AS p95_in_bps,
    if(empty(sent), NULL, sent[length(sent) - intDiv(length(sent), 20)]) AS p95_out_bps,
    greatest(ifNull(p95_in_bps, p95_out_bps), ifNull(p95_out_bps, p95_in_bps)) AS billable_bps
FROM (
    SELECT entity, uniqExact(slot) AS samples, arraySort(groupArrayIf(bps, metric = 'if_in_octets')) AS received,
        arraySort(groupArrayIf(bps, metric = 'if_out_octets')) AS sent
    FROM (
        SELECT entity, metric, toStartOfFiveMinutes(bucket) AS slot, sum(increase) * 8 / 300 AS bps
        FROM v_1m
        WHERE metric IN ('if_in_octets', 'if_out_octets') AND [[span bucket]]
            AND [[selected entity]]
        GROUP BY entity, metric, slot
    )
    GROUP BY entity
)
ORDER BY entity

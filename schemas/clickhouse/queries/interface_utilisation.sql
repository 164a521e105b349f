-- title: How busy was each interface?
-- meaning: By minute: increase of the octets x 8 / 60 / if_speed, which is the vlast of the same minute or the last before.
-- meaning: Percentiles are exact, rank rule inverted_cdf. Minutes without a speed are left out.
-- key: entity
-- column: in_mean_pct | mean of the minutes, received
-- column: in_p95_pct | 95th percentile of the minutes, received
-- column: in_max_pct | highest of the minutes, received
-- column: out_mean_pct | mean of the minutes, sent
-- column: out_p95_pct | 95th percentile of the minutes, sent
-- column: out_max_pct | highest of the minutes, sent
WITH
busy AS (
    SELECT t.entity AS entity, t.metric AS metric, 100 * t.increase * 8 / 60 / nullIf(s.speed, 0) AS pct
    FROM (
        SELECT entity, metric, bucket, increase
        FROM v_1m
        WHERE metric IN ('if_in_octets', 'if_out_octets') AND [[span bucket]]
            AND [[selected entity]]
    ) AS t
    ASOF LEFT JOIN (
        SELECT entity, bucket, vlast AS speed
        FROM v_1m
        WHERE metric = 'if_speed' AND bucket < {to:DateTime('UTC')} AND [[selected entity]]
    ) AS s ON s.entity = t.entity AND s.bucket <= t.bucket
)
SELECT entity,
    if(empty(received), NULL, arrayAvg(received)) AS in_mean_pct,
    if(empty(received), NULL, received[intDiv(95 * length(received) + 99, 100)]) AS in_p95_pct,
    if(empty(received), NULL, received[-1]) AS in_max_pct,
    if(empty(sent), NULL, arrayAvg(sent)) AS out_mean_pct,
    if(empty(sent), NULL, sent[intDiv(95 * length(sent) + 99, 100)]) AS out_p95_pct,
    if(empty(sent), NULL, sent[-1]) AS out_max_pct
FROM (
    SELECT entity, arraySort(groupArrayIf(assumeNotNull(pct), metric = 'if_in_octets' AND pct IS NOT NULL)) AS received,
        arraySort(groupArrayIf(assumeNotNull(pct), metric = 'if_out_octets' AND pct IS NOT NULL)) AS sent
    FROM busy
    GROUP BY entity
)
ORDER BY entity

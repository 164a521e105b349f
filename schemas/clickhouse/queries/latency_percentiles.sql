-- title: What were the percentiles of each entity, and did they meet its target?
-- meaning: Percentiles come from sketches: within 1 % of the value, rank rule inverted_cdf.
-- param: metric name = latency_ms | what is measured
-- key: entity
-- column: n | samples
-- column: p50 | median
-- column: p95 | 95th percentile
-- column: p99 | 99th percentile
-- column: worst | largest value
-- column: target | entities.attrs['latency_target_ms']; null if it is missing or no number
-- column: meets | p95 <= target
-- column: good_ratio | samples inside the objective, counted at ingest, of all
WITH
[[use listed]]
SELECT w.entity AS entity, w.samples AS n, ifNotFinite(sk_quantile(w.merged, 0.5), NULL) AS p50,
    ifNotFinite(sk_quantile(w.merged, 0.95), NULL) AS p95, ifNotFinite(sk_quantile(w.merged, 0.99), NULL) AS p99, w.worst AS worst,
    ifNotFinite(toFloat64OrNull(l.attrs['latency_target_ms']), NULL) AS target, CAST(p95 <= target AS Nullable(Bool)) AS meets,
    w.good / nullIf(w.samples, 0) AS good_ratio
FROM (
    SELECT entity, sum(cnt) AS samples, sum(v_1m.good) AS good, max(vmax) AS worst, sumMap(sk) AS merged
    FROM v_1m
    WHERE metric = {metric:String} AND [[span bucket]] AND [[selected entity]]
    GROUP BY entity
) AS w
LEFT JOIN listed AS l ON l.entity = w.entity
ORDER BY entity

-- title: How much of the data that was due has arrived, by day?
-- meaning: Every known entity has a row for every day; days of 23 and 25 hours differ in what is expected.
-- param: metric name = up | what is counted
-- param: per_minute number = 6 | samples due each minute
-- key: entity day
-- column: received | samples
-- column: expected | minutes of that day in the span x per_minute
-- column: completeness_pct | received / expected
WITH
[[use known]],
[[use days]]
SELECT g.entity AS entity, g.day AS day, w.samples AS received, g.minutes * {per_minute:Float64} AS expected,
    100 * received / nullIf(expected, 0) AS completeness_pct
FROM (SELECT known.entity AS entity, days.day AS day, days.minutes AS minutes FROM known CROSS JOIN days) AS g
LEFT JOIN (
    SELECT entity, toDate(bucket, {zone:String}) AS day, sum(cnt) AS samples
    FROM v_1m
    WHERE metric = {metric:String} AND [[span bucket]] AND [[selected entity]]
    GROUP BY entity, day
) AS w ON w.entity = g.entity AND w.day = g.day
ORDER BY entity, day

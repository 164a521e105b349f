-- title: How often and how long was each entity too hot?
-- meaning: An excursion is a run of consecutive minutes whose mean is above the limit; a minute without data ends it.
-- param: metric name = temp_c | what is measured
-- param: limit number = 27 | the highest allowed mean
-- param: min_minutes count = 1 | shorter excursions are dropped
-- key: entity
-- column: excursions | how many
-- column: minutes_over | minutes in them
-- column: longest_minutes | length of the longest
-- column: peak | highest value in them
-- column: degree_minutes | sum of (mean - limit)
WITH
[[use reporting]],
excursions AS (
    SELECT entity, count() AS minutes, max(vmax) AS peak, sum(mean - {limit:Float64}) AS degree_minutes
    FROM (
        SELECT entity, bucket, vmax, vsum / cnt AS mean,
            intDiv(toUInt32(bucket), 60) - row_number() OVER (PARTITION BY entity ORDER BY bucket) AS run
        FROM v_1m
        WHERE metric = {metric:String} AND [[span bucket]]
            AND cnt > 0 AND mean > {limit:Float64} AND [[selected entity]]
    )
    GROUP BY entity, run
    HAVING minutes >= {min_minutes:UInt64}
)
SELECT r.entity AS entity, x.runs AS excursions, x.sum_minutes AS minutes_over, if(x.runs = 0, NULL, x.longest) AS longest_minutes,
    if(x.runs = 0, NULL, x.highest) AS peak, x.degrees AS degree_minutes
FROM reporting AS r
LEFT JOIN (
    SELECT entity, count() AS runs, sum(minutes) AS sum_minutes, max(minutes) AS longest, max(peak) AS highest,
        sum(degree_minutes) AS degrees
    FROM excursions
    GROUP BY entity
) AS x ON x.entity = r.entity
ORDER BY entity

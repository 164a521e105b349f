-- title: How much of the time were enough entities of each site up?
-- meaning: A minute counts if any entity of the site has a window of metric `up` in it.
-- param: need positive = 1 | so many entities must be up
-- key: site
-- column: minutes | minutes with any data
-- column: up_minutes | of these, with at least `need` entities up
-- column: availability_pct | up_minutes / minutes
WITH
[[use listed]]
SELECT site, count() AS minutes, countIf(up >= {need:UInt64}) AS up_minutes, 100 * up_minutes / minutes AS availability_pct
FROM (
    SELECT l.site AS site, w.bucket AS bucket, countIf(w.vmin >= 1) AS up
    FROM v_1m AS w
    INNER JOIN listed AS l ON l.entity = w.entity
    WHERE w.metric = 'up' AND [[span w.bucket]] AND l.site IS NOT NULL
        AND [[selected w.entity]]
    GROUP BY site, bucket
)
GROUP BY site
ORDER BY site

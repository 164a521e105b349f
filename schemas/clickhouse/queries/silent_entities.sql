-- title: Who has fallen silent?
-- meaning: Known entities whose last window before `at` starts more than `minutes` before it, or that have none in 24 h.
-- span: at
-- param: minutes count = 3 | silence that is allowed
-- param: metric name = up | what should be heard
-- key: entity
-- column: last_seen | start of the last window; null: none in 24 h
-- column: silent_seconds | at - last_seen
WITH
[[use known]]
SELECT k.entity AS entity, if(w.windows = 0, NULL, w.newest) AS last_seen,
    toUInt32({at:DateTime('UTC')}) - toUInt32(last_seen) AS silent_seconds
FROM known AS k
LEFT JOIN (
    SELECT entity, count() AS windows, max(bucket) AS newest
    FROM windows_1m
    WHERE metric = {metric:String} AND [[span bucket {at:DateTime('UTC')} - 86400 | {at:DateTime('UTC')}]]
        AND [[selected entity]]
    GROUP BY entity
) AS w ON w.entity = k.entity
WHERE silent_seconds IS NULL OR silent_seconds > 60 * {minutes:UInt64}
ORDER BY entity

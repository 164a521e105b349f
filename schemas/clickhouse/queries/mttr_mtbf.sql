-- title: How long until repair, and how long between failures?
-- meaning: Over the outages of `outages`, with the same parameters.
-- param: merge_minutes positive = 1 | down minutes whose starts are at most this far apart are one outage
-- param: min_seconds count = 60 | shorter outages are dropped
-- param: exclude reasons = planned | maintenance reasons that do not count; empty: none
-- fixed: metric = up
-- key: entity
-- column: failures | outages
-- column: mttr_minutes | mean length of an outage
-- column: longest_minutes | longest outage
-- column: mtbf_hours | (span - time in outages) / failures
WITH
[[use reporting]],
[[use maintenance_minutes]],
[[use up_minutes]],
[[use outages]]
SELECT r.entity AS entity, o.failures AS failures, o.down_seconds / nullIf(failures, 0) / 60 AS mttr_minutes,
    if(failures = 0, NULL, o.longest / 60) AS longest_minutes,
    (toUInt32({to:DateTime('UTC')}) - toUInt32({from:DateTime('UTC')}) - o.down_seconds) / nullIf(failures, 0) / 3600 AS mtbf_hours
FROM reporting AS r
LEFT JOIN (
    SELECT entity, count() AS failures, sum(seconds) AS down_seconds, max(seconds) AS longest FROM outages GROUP BY entity
) AS o ON o.entity = r.entity
ORDER BY entity

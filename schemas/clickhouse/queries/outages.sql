-- title: When was each entity down, and for how long?
-- meaning: Down minutes outside maintenance, cut at the span; an outage ends with its last down minute.
-- param: merge_minutes positive = 1 | down minutes whose starts are at most this far apart are one outage
-- param: min_seconds count = 60 | shorter outages are dropped
-- param: exclude reasons = planned | maintenance reasons that do not count; empty: none
-- fixed: metric = up
-- key: entity start
-- column: end | end of the last down minute
-- column: seconds | end - start
-- column: down_minutes | down minutes in it
WITH
[[use maintenance_minutes]],
[[use up_minutes]],
[[use outages]]
SELECT entity, start, end, seconds, down_minutes
FROM outages
ORDER BY entity, start

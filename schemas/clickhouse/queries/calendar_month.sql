-- title: How available was each entity in the customer's calendar month?
-- meaning: As `availability`, over a month of `zone`: October in Europe/Stockholm has 745 hours.
-- span: month
-- param: exclude reasons = planned | maintenance reasons that do not count; empty: none
-- fixed: metric = up
-- key: entity
-- column: hours | length of the month
-- column: service_minutes | minutes of the month that are not maintenance
-- column: up_minutes | of these, up
-- column: down_minutes | of these, down
-- column: unknown_minutes | of these, without a window
-- column: availability_strict_pct | up / service
-- column: availability_observed_pct | up / (up + down)
-- column: maintenance_minutes | minutes that a counted maintenance covers any part of
WITH
[[use known]],
[[use maintenance_minutes]],
[[use up_minutes]],
[[use service]]
SELECT entity, (toUInt32({to:DateTime('UTC')}) - toUInt32({from:DateTime('UTC')})) / 3600 AS hours,
    service_minutes, up_minutes, down_minutes, unknown_minutes, availability_strict_pct, availability_observed_pct,
    maintenance_minutes
FROM service
ORDER BY entity

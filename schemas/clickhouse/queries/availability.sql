-- title: How much of the time was each entity up, maintenance left out?
-- meaning: A minute is up if its window of metric `up` has vmin >= 1, down if it has one with less, unknown without one.
-- meaning: Strict counts unknown minutes as down, observed leaves them out; both are null without an up or down minute.
-- meaning: Entities listed with kind `link` or that ever reported `up` have a row, with or without data in the span.
-- param: exclude reasons = planned | maintenance reasons that do not count; empty: none
-- fixed: metric = up
-- key: entity
-- column: service_minutes | minutes of the span that are not maintenance
-- column: up_minutes | of these, up
-- column: down_minutes | of these, down
-- column: unknown_minutes | of these, without a window
-- column: maintenance_minutes | minutes that a counted maintenance covers any part of
-- column: availability_strict_pct | up / service
-- column: availability_observed_pct | up / (up + down)
WITH
[[use known]],
[[use maintenance_minutes]],
[[use up_minutes]],
[[use service]]
SELECT entity, service_minutes, up_minutes, down_minutes, unknown_minutes, maintenance_minutes,
    availability_strict_pct, availability_observed_pct
FROM service
ORDER BY entity

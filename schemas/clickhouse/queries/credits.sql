-- title: What credit is each customer due?
-- meaning: By observed availability. The objective is entities.attrs['availability_slo_pct'].
-- param: tiers tiers = 99.9:0,99:10,95:25,0:100 | REACHED_PCT:CREDIT_PCT, best first; the first tier reached counts
-- param: exclude reasons = planned | maintenance reasons that do not count; empty: none
-- fixed: metric = up
-- key: entity
-- column: customer | as listed in entities
-- column: availability_pct | observed availability
-- column: objective_pct | what was promised; null if it is missing or no number
-- column: credit_pct | 0 if the objective is met, else that of the tier
WITH
[[use known]],
[[use listed]],
[[use reporting]],
[[use maintenance_minutes]],
[[use up_minutes]],
[[use service]]
SELECT s.entity AS entity, l.customer AS customer, s.availability_observed_pct AS availability_pct,
    ifNotFinite(toFloat64OrNull(l.attrs['availability_slo_pct']), NULL) AS objective_pct,
    multiIf(
        availability_pct IS NULL OR objective_pct IS NULL, NULL,
        availability_pct >= objective_pct, 0.,
        arrayExists(reached -> availability_pct >= reached, {tier_reached:Array(Float64)}),
        {tier_credit:Array(Float64)}[arrayFirstIndex(reached -> availability_pct >= reached, {tier_reached:Array(Float64)})],
        NULL
    ) AS credit_pct
FROM service AS s
LEFT JOIN listed AS l ON l.entity = s.entity
WHERE s.entity IN (SELECT entity FROM reporting)
ORDER BY entity

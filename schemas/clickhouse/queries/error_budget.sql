-- title: How much of the error budget of each entity is used?
-- param: metric name = required | what is measured
-- param: objective fraction = required | share that must be good, 0.999
-- key: entity
-- column: total | samples
-- column: bad | samples outside the objective, counted at ingest
-- column: objective | as asked
-- column: budget_events | (1 - objective) x total
-- column: budget_consumed | bad / budget_events
-- column: budget_remaining | 1 - consumed; negative when overspent
SELECT entity, sum(cnt) AS total, total - sum(good) AS bad, {objective:Float64} AS objective,
    (1 - objective) * total AS budget_events, bad / nullIf(budget_events, 0) AS budget_consumed,
    1 - budget_consumed AS budget_remaining
FROM v_1m
WHERE metric = {metric:String} AND [[span bucket]] AND [[selected entity]]
GROUP BY entity
ORDER BY entity

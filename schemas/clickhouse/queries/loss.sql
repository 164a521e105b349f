-- title: What share of the frames of each entity was lost, and on which day most?
-- meaning: Ratio = lost / (lost + received), sums of vsum. The worst day is the earliest with the highest ratio.
-- param: received name = frames_rx | metric of what arrived
-- param: lost name = frames_lost | metric of what did not
-- key: entity
-- column: lost | sum of the metric `lost`
-- column: received | sum of the metric `received`
-- column: loss_ratio | lost / (lost + received)
-- column: worst_day | local day with the highest ratio
-- column: worst_day_ratio | its ratio
SELECT entity, sum(day_lost) AS lost, sum(day_received) AS received, lost / nullIf(lost + received, 0) AS loss_ratio,
    if(max(ratio) IS NULL, NULL, argMaxIf(day, (ifNull(ratio, 0), -toInt32(day)), ratio IS NOT NULL)) AS worst_day,
    max(ratio) AS worst_day_ratio
FROM (
    SELECT entity, toDate(bucket, {zone:String}) AS day, sumIf(vsum, metric = {lost:String}) AS day_lost,
        sumIf(vsum, metric = {received:String}) AS day_received, day_lost / nullIf(day_lost + day_received, 0) AS ratio
    FROM v_1m
    WHERE metric IN ({lost:String}, {received:String}) AND [[span bucket]]
        AND [[selected entity]]
    GROUP BY entity, day
)
GROUP BY entity
ORDER BY entity

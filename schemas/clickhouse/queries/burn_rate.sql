-- title: How many times faster than allowed is the error budget of each entity burning?
-- meaning: Burn rate = (bad / total over the time before `at`) / (1 - objective); null without data.
-- meaning: Thresholds: The Site Reliability Workbook, ch. 5 (multiwindow, multi-burn-rate alerts).
-- span: at
-- param: metric name = required | what is measured
-- param: objective fraction = required | share that must be good, 0.999
-- key: entity
-- column: b5m | burn rate of the last 5m
-- column: b30m | burn rate of the last 30m
-- column: b1h | burn rate of the last 1h
-- column: b2h | burn rate of the last 2h
-- column: b6h | burn rate of the last 6h
-- column: b1d | burn rate of the last 1d
-- column: b3d | burn rate of the last 3d
-- column: page | (b1h and b5m > 14.4) or (b6h and b30m > 6)
-- column: ticket | (b1d and b2h > 3) or (b3d and b6h > 1)
SELECT entity,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 300) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 300), 0) / allowed AS b5m,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 1800) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 1800), 0) / allowed AS b30m,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 3600) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 3600), 0) / allowed AS b1h,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 7200) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 7200), 0) / allowed AS b2h,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 21600) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 21600), 0) / allowed AS b6h,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 86400) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 86400), 0) / allowed AS b1d,
    sumIf(cnt - good, bucket >= {at:DateTime('UTC')} - 259200) / nullIf(sumIf(cnt, bucket >= {at:DateTime('UTC')} - 259200), 0) / allowed AS b3d,
    CAST(ifNull(b1h > 14.4 AND b5m > 14.4, false) OR ifNull(b6h > 6 AND b30m > 6, false) AS Bool) AS page,
    CAST(ifNull(b1d > 3 AND b2h > 3, false) OR ifNull(b3d > 1 AND b6h > 1, false) AS Bool) AS ticket
FROM (
    SELECT entity, bucket, cnt, toInt64(good) AS good, nullIf(1 - {objective:Float64}, 0) AS allowed
    FROM v_1m
    WHERE metric = {metric:String} AND [[span bucket {at:DateTime('UTC')} - 259200 | {at:DateTime('UTC')}]]
        AND [[selected entity]]
)
GROUP BY entity, allowed
ORDER BY entity

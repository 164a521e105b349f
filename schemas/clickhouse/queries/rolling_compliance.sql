-- title: What share was good over the days that end with each day?
-- meaning: Calendar days of `zone`, looking back before `from`, whether or not they have data.
-- param: metric name = required | what is measured
-- param: days positive = 7 | calendar days, this one included
-- key: entity day
-- column: ratio | good / cnt
SELECT entity, day, sum(good) / nullIf(sum(samples), 0) AS ratio
FROM (
    SELECT entity, arrayJoin(range({days:UInt64})) AS later, own_day + later AS day, good, samples, later = 0 AND is_asked AS is_own
    FROM (
        SELECT entity, toDate(bucket, {zone:String}) AS own_day, sum(v_1m.good) AS good, sum(cnt) AS samples,
            max(bucket >= {from:DateTime('UTC')}) AS is_asked
        FROM v_1m
        WHERE metric = {metric:String} AND [[selected entity]] AND [[span bucket
            toDateTime(toDate({from:DateTime('UTC')}, {zone:String}) - ({days:UInt64} - 1), {zone:String}) | {to:DateTime('UTC')}]]
        GROUP BY entity, own_day
    )
)
GROUP BY entity, day
HAVING max(is_own)
ORDER BY entity, day

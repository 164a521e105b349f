-- title: Which entities were the worst in each period?
-- meaning: Worst by 1 - good / cnt, ties by entity.
-- param: metric name = required | what is measured
-- param: n positive = 3 | so many in each period
-- param: period period = week | day, week (from Monday) or month
-- key: period entity
-- column: bad_ratio | 1 - good / cnt
-- column: rank | 1 is the worst
SELECT period, entity, bad_ratio, row_number() OVER (PARTITION BY period ORDER BY bad_ratio DESC, entity) AS rank
FROM (
    SELECT entity, multiIf(
            {period:String} = 'day', toDate(bucket, {zone:String}),
            {period:String} = 'week', toMonday(bucket, {zone:String}),
            toStartOfMonth(bucket, {zone:String})
        ) AS period, 1 - sum(good) / nullIf(sum(cnt), 0) AS bad_ratio
    FROM v_1m
    WHERE metric = {metric:String} AND [[span bucket]] AND [[selected entity]]
    GROUP BY entity, period
    HAVING bad_ratio IS NOT NULL
)
QUALIFY rank <= {n:UInt64}
ORDER BY period, rank

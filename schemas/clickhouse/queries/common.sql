-- Common table expressions of the named queries. `[[use NAME]]` puts one into a query; see streams/clickhouse/queries.py.

--- known
-- Entities that ever reported the metric, and those that are listed with kind `link`. windows_1d remembers longest.
SELECT DISTINCT entity
FROM (
    SELECT entity FROM windows_1m WHERE metric = {metric:String}
    UNION ALL
    SELECT entity FROM windows_1d WHERE metric = {metric:String}
    UNION ALL
    SELECT entity FROM entities FINAL WHERE kind = 'link'
)
WHERE [[selected entity]]

--- listed
-- What operators tell of entities; no text is null.
SELECT entity, nullIf(toString(kind), '') AS kind, nullIf(toString(site), '') AS site,
    nullIf(toString(customer), '') AS customer, attrs
FROM entities FINAL

--- maintenance_minutes
-- Every minute that a counted maintenance covers any part of, once.
SELECT DISTINCT entity, toDateTime(arrayJoin(range(
    toUInt32(greatest(toStartOfMinute(start), {from:DateTime('UTC')})), toUInt32(least(end, {to:DateTime('UTC')})), 60
)), 'UTC') AS bucket
FROM maintenance FINAL
WHERE cancelled = 0 AND has({exclude:Array(String)}, reason) AND start < end
    AND start < {to:DateTime('UTC')} AND end > {from:DateTime('UTC')}

--- up_minutes
-- Minutes of metric `up` in the span outside maintenance.
SELECT entity, bucket, vmin >= 1 AS is_up
FROM v_1m
WHERE metric = 'up' AND [[span bucket]] AND [[selected entity]]
    AND (entity, bucket) NOT IN (SELECT entity, bucket FROM maintenance_minutes)

--- service
-- Minutes of every known entity by what they were.
SELECT k.entity AS entity,
    intDiv(toUInt32({to:DateTime('UTC')}) - toUInt32({from:DateTime('UTC')}), 60) - m.minutes AS service_minutes,
    u.up AS up_minutes, u.down AS down_minutes, service_minutes - up_minutes - down_minutes AS unknown_minutes,
    m.minutes AS maintenance_minutes,
    if(up_minutes + down_minutes > 0, 100 * up_minutes / service_minutes, NULL) AS availability_strict_pct,
    if(up_minutes + down_minutes > 0, 100 * up_minutes / (up_minutes + down_minutes), NULL) AS availability_observed_pct
FROM known AS k
LEFT JOIN (
    SELECT entity, countIf(is_up) AS up, countIf(NOT is_up) AS down FROM up_minutes GROUP BY entity
) AS u ON u.entity = k.entity
LEFT JOIN (SELECT entity, count() AS minutes FROM maintenance_minutes GROUP BY entity) AS m ON m.entity = k.entity

--- reporting
-- Entities with data of the metric in the span.
SELECT DISTINCT entity
FROM v_1m
WHERE metric = {metric:String} AND [[span bucket]] AND [[selected entity]]

--- outages
-- Runs of down minutes; one ends where the next down minute starts more than merge_minutes later.
SELECT entity, min(bucket) AS start, max(bucket) + 60 AS end, toUInt32(end) - toUInt32(start) AS seconds, count() AS down_minutes
FROM (
    SELECT entity, bucket, countIf(toUInt32(bucket) - toUInt32(before) > 60 * {merge_minutes:UInt64}) OVER (
        PARTITION BY entity ORDER BY bucket ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS run
    FROM (
        SELECT entity, bucket, lagInFrame(bucket, 1, bucket) OVER (
            PARTITION BY entity ORDER BY bucket ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS before
        FROM up_minutes
        WHERE NOT is_up
    )
)
GROUP BY entity, run
HAVING seconds >= {min_seconds:UInt64}

--- days
-- Every local day that the span touches, with its minutes in the span: 1380 and 1500 where DST changes.
SELECT toDate(toDateTime(toUInt32({from:DateTime('UTC')}) + 60 * number, 'UTC'), {zone:String}) AS day, count() AS minutes
FROM numbers(intDiv(toUInt32({to:DateTime('UTC')}) - toUInt32({from:DateTime('UTC')}), 60))
GROUP BY day

--- span_flows
-- Flows that began in the span; those whose exporter sends no start (sFlow) count from their receive time.
SELECT *, time,
    if(sampling_rate > 0, sampling_rate, NULL) AS rate,
    ifNull(bytes, 0) * ifNull(rate, 1) AS scaled_bytes,
    ifNull(packets, 0) * ifNull(rate, 1) AS scaled_packets,
    if(rate IS NULL, ifNull(bytes, 0), 0) AS unknown_bytes
FROM flows FINAL
WHERE time >= {from:DateTime('UTC')} AND time < {to:DateTime('UTC')}
    AND toStartOfHour(time) >= toStartOfHour({from:DateTime('UTC')})
    AND [[selected exporter]]

--- tracked
-- The 10 s slots of the contacts that begin in the span, with the spacecraft's window where there is one. A contact too
-- short for a slot has one that nothing matches.
SELECT s.id AS id, s.spacecraft AS spacecraft, s.station AS station, s.aos AS aos, s.los AS los, s.required AS required,
    w.cnt > 0 AS is_tracked, w.vsum / w.cnt AS mean
FROM (
    SELECT id, spacecraft, station, aos, los, required_snr_db AS required, toDateTime(arrayJoin(emptyArrayToSingle(range(
        intDiv(toUInt32(aos) + 9, 10) * 10, toUInt32(greatest(aos, los)), 10
    ))), 'UTC') AS bucket
    FROM contacts FINAL
    WHERE aos >= {from:DateTime('UTC')} AND aos < {to:DateTime('UTC')} AND [[selected spacecraft station]]
) AS s
LEFT JOIN (
    SELECT entity, bucket, cnt, vsum
    FROM v_10s
    WHERE metric = {metric:String} AND cnt > 0 AND [[span bucket {from:DateTime('UTC')} |
        (SELECT max(los) FROM contacts FINAL WHERE aos >= {from:DateTime('UTC')} AND aos < {to:DateTime('UTC')})]]
) AS w ON w.entity = s.spacecraft AND w.bucket = s.bucket

-- title: What do we know that we did not get?
-- meaning: Rejected input in bytes, and what the samples `kernel_drops sequence_gaps shed rate_limited late frames_lost` count,
-- meaning: in the sample's own unit where it is one of datagrams, frames, packets and bytes; a report of 0 is no loss. `entity` is
-- meaning: the source. Rejects of 0 bytes are remarks inside accepted frames, or samples too late for their window.
-- key: source reason
-- column: lost | how much
-- column: unit | datagrams, frames, packets or bytes
-- column: first | time of the first
-- column: last | time of the last
SELECT source, reason, sum(amount) AS lost, unit, min(time) AS first, max(time) AS last
FROM (
    SELECT toString(source) AS source, toString(reason) AS reason, toFloat64(size_bytes) AS amount, 'bytes' AS unit,
        assumeNotNull(time) AS time
    FROM rejects FINAL
    WHERE rejects.time >= {from:DateTime('UTC')} AND rejects.time < {to:DateTime('UTC')} AND [[selected source]]
    UNION ALL
    SELECT source, metric AS reason, if(kind = 'counter', increase, value) AS amount,
        if(sample_unit IN ('datagrams', 'frames', 'packets', 'bytes'), sample_unit, transform(metric,
            ['kernel_drops', 'sequence_gaps', 'shed', 'rate_limited', 'late', 'frames_lost'],
            ['datagrams', 'packets', 'frames', 'datagrams', 'frames', 'frames'], ''
        )) AS unit, time
    FROM (
        -- A counter's increase since the sample before; what it holds after a reset is new.
        SELECT toString(source) AS source, toString(metric) AS metric, toString(kind) AS kind, assumeNotNull(value) AS value, time,
            ifNull(toString(unit), '') AS sample_unit, lagInFrame(value, 1, value) OVER (
                PARTITION BY source, entity, metric ORDER BY time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
            ) AS before, if(value >= before, value - before, value) AS increase
        FROM v_samples
        WHERE metric IN ('kernel_drops', 'sequence_gaps', 'shed', 'rate_limited', 'late', 'frames_lost') AND value IS NOT NULL
            AND time >= {from:DateTime('UTC')} AND time < {to:DateTime('UTC')} AND [[selected source]]
    )
    WHERE amount != 0
)
GROUP BY source, reason, unit
ORDER BY source, reason, unit

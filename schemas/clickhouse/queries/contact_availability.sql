-- title: How much of the planned contact time of each station was usable?
-- meaning: Contacts whose aos lies in the span. `entity` is the spacecraft, `site` the station.
-- param: metric name = snr_db | signal to noise ratio
-- key: station
-- column: contacts | planned
-- column: missed | of these, without any window
-- column: planned_seconds | sum of los - aos
-- column: tracked_seconds | 10 s for each window that starts in a contact
-- column: usable_seconds | of these, those whose mean is at or above required_snr_db
-- column: usable_pct | usable_seconds / planned_seconds
-- column: success_pct | contacts that were not missed
WITH
[[use tracked]]
SELECT station, count() AS contacts, countIf(tracked_slots = 0) AS missed, sum(planned) AS planned_seconds,
    10 * sum(tracked_slots) AS tracked_seconds, 10 * sum(usable_slots) AS usable_seconds,
    100 * usable_seconds / nullIf(planned_seconds, 0) AS usable_pct, 100 * (contacts - missed) / contacts AS success_pct
FROM (
    SELECT id, any(station) AS station, any(toInt64(toUInt32(los)) - toUInt32(aos)) AS planned, countIf(is_tracked) AS tracked_slots,
        countIf(is_tracked AND mean >= required) AS usable_slots
    FROM tracked
    GROUP BY id
)
GROUP BY station
ORDER BY station

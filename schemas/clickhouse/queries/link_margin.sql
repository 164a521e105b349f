-- title: How much margin had each contact?
-- meaning: Contacts whose aos lies in the span, by 10 s windows that start in [aos, los). `entity` is the spacecraft.
-- param: metric name = snr_db | signal to noise ratio
-- key: id
-- column: spacecraft | as planned
-- column: station | as planned
-- column: samples | 10 s windows in the contact
-- column: min | lowest window mean
-- column: avg | mean of the window means
-- column: worst_margin_db | lowest window mean - required_snr_db
-- column: seconds_below | 10 s for each window whose mean is below required_snr_db
WITH
[[use tracked]]
SELECT id, any(spacecraft) AS spacecraft, any(station) AS station, countIf(is_tracked) AS samples,
    minOrNullIf(mean, is_tracked) AS min, avgOrNullIf(mean, is_tracked) AS avg, min - any(required) AS worst_margin_db,
    if(samples = 0, NULL, 10 * countIf(is_tracked AND mean < required)) AS seconds_below
FROM tracked
GROUP BY id
ORDER BY id

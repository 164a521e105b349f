-- title: What was the power usage effectiveness of each site, by day?
-- meaning: Minute means of `facility_power_w` and `power_w`, added up over the entities of the site.
-- key: site day
-- column: facility_kwh | energy of the facility; null without data
-- column: it_kwh | energy of the IT equipment; null without data
-- column: pue | facility_kwh / it_kwh
WITH
[[use listed]]
SELECT l.site AS site, toDate(w.bucket, {zone:String}) AS day,
    sumOrNullIf(w.vsum / w.cnt, w.metric = 'facility_power_w') / 60000 AS facility_kwh,
    sumOrNullIf(w.vsum / w.cnt, w.metric = 'power_w') / 60000 AS it_kwh, facility_kwh / nullIf(it_kwh, 0) AS pue
FROM v_1m AS w
INNER JOIN listed AS l ON l.entity = w.entity
WHERE w.metric IN ('facility_power_w', 'power_w') AND [[span w.bucket]]
    AND w.cnt > 0 AND l.site IS NOT NULL AND [[selected w.entity]]
GROUP BY site, day
ORDER BY site, day

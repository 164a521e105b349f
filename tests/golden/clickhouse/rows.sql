-- What tests/schema_dump.py puts into every table that there is: old times, empty texts, nulls, revisions, rows that stand twice.

INSERT INTO samples (time, received, entity, metric, value, text, kind, unit, source, quality, partition, offset, position)
VALUES
    ('2026-10-01 00:00:00.123456789', NULL, '10.0.0.1/if/3', 'if_in_octets', 18446744073709, NULL, 'counter', 'octets', 's', 0, 1, 7, 0),
    ('2026-10-01 00:00:00.123456789', NULL, '10.0.0.1/if/3', 'if_in_octets', 18446744073709, NULL, 'counter', 'octets', 's', 0, 1, 7, 0),
    ('1999-12-31 23:59:59', '2026-10-02 00:00:00', 'JPSS-1', 'MODE', NULL, 'SAFE', 'text', NULL, '', 1, 0, 0, 0);

INSERT INTO flows (received, exporter, codec, time_start, src_addr, src_mac, mpls_labels, bytes, partition, offset, position)
VALUES
    ('2026-10-01 00:00:01', '10.0.0.1', 'ipfix', '2026-10-01 00:00:00.5', '::ffff:10.0.0.2', 'ABCDEF', [16, 17], 1500, 0, 5, 0),
    (NULL, '10.0.0.2', 'sflow', NULL, NULL, NULL, [], NULL, 0, 5, 1);

INSERT INTO rejects (time, source, reason, detail, record_offset)
VALUES (NULL, 's', 'garbage', 'x', 3), ('2026-10-01', 's', 'late', '', 4);

INSERT INTO windows_10s (bucket, entity, metric, rev, cnt, good, vsum, vmin, vmax, last_time, sk)
VALUES
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 5, 2, 1, 90.5, 40, 50.5, '2026-10-01 00:00:19', {4281: 1, 4293: 1}),
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 6, 3, 2, 100.5, 10, 50.5, '2026-10-01 00:00:19', {4211: 1, 4281: 1, 4293: 1});

INSERT INTO entities (entity, kind, attrs, version)
VALUES ('link-1', 'link', {'latency_target_ms': '45'}, 1), ('link-1', 'rack', {}, 2);

INSERT INTO maintenance (id, entity, start, end, cancelled, version)
VALUES (7, 'link-1', '2026-10-01', '2026-10-02', 0, 1);

INSERT INTO contacts (id, spacecraft, station, aos, los, version)
VALUES (1, 'sat-1', 'north', '2026-10-01', '2026-10-01 00:10:00', 1);

INSERT INTO alert_events (at, rule, fingerprint, seq, state, starts_at)
VALUES ('2026-10-01', 'r', 9, 1, 'firing', '2026-10-01');

INSERT INTO deliveries (at, endpoint, webhook_id, attempt, status)
VALUES ('2026-10-01', 'e', 'w', 1, 204);

INSERT INTO dead_letters (at, stage, target, topic, payload)
VALUES ('2026-10-01', 'insert', 'samples', 'samples', '{"a": 1}');

INSERT INTO reference_rows (kind, key, is_listed, version)
VALUES ('entities', 'link-1', 1, 1);

INSERT INTO windows_1m (bucket, entity, metric, rev, cnt, good, vsum, vmin, vmax, last_time, sk)
VALUES
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 5, 2, 1, 90.5, 40, 50.5, '2026-10-01 00:00:19', {4281: 1, 4293: 1}),
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 6, 3, 2, 100.5, 10, 50.5, '2026-10-01 00:00:19', {4211: 1, 4281: 1, 4293: 1});

INSERT INTO windows_1h (bucket, entity, metric, rev, cnt, good, vsum, vmin, vmax, last_time, sk)
VALUES
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 5, 2, 1, 90.5, 40, 50.5, '2026-10-01 00:00:19', {4281: 1, 4293: 1}),
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 6, 3, 2, 100.5, 10, 50.5, '2026-10-01 00:00:19', {4211: 1, 4281: 1, 4293: 1});

INSERT INTO windows_1d (bucket, entity, metric, rev, cnt, good, vsum, vmin, vmax, last_time, sk)
VALUES
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 5, 2, 1, 90.5, 40, 50.5, '2026-10-01 00:00:19', {4281: 1, 4293: 1}),
    ('2026-10-01 00:00:10', 'link-1', 'latency_ms', 6, 3, 2, 100.5, 10, 50.5, '2026-10-01 00:00:19', {4211: 1, 4281: 1, 4293: 1});

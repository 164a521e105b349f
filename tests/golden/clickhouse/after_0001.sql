CREATE FUNCTION IF NOT EXISTS sk_key AS v -> toInt16(if(abs(v) < 1e-9, 0, sign(v) * (ceil(log(abs(v)) / log(1.01 / 0.99)) + 4096)));

CREATE FUNCTION IF NOT EXISTS sk_le AS (m, x) -> (arraySum((k, c) -> if(sk_val(k) <= x, c, 0), mapKeys(m), mapValues(m)) / arraySum(mapValues(m)));

CREATE FUNCTION IF NOT EXISTS sk_quantile AS (m, q) -> if(empty(m), nan, sk_val(mapKeys(m)[arrayFirstIndex(c -> (c >= (q * arraySum(mapValues(m)))), arrayCumSum(mapValues(m)))]));

CREATE FUNCTION IF NOT EXISTS sk_val AS k -> if(k = 0, 0., ((sign(k) * 2) * pow(1.01 / 0.99, abs(k) - 4096)) / ((1.01 / 0.99) + 1));

CREATE TABLE schema_migrations (`name` String COMMENT 'file in schemas/clickhouse without .sql', `checksum` String COMMENT 'SHA-256 of the file, hex', `at` DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'UTC: when it was applied') ENGINE = ReplacingMergeTree(at) ORDER BY name SETTINGS index_granularity = 8192 COMMENT 'which migrations were applied';

INSERT INTO schema_migrations (name, checksum, at) FORMAT JSONEachRow
{"name":"0001_functions","checksum":"5f67582691ff7f8ccdfdb6a169f070ca7ca6f93c730fc1aff6eee5721cce9152","at":"2026-11-23 14:31:16.155"};

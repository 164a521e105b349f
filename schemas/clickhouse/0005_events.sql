-- What the alerts did, and what could not be stored.

CREATE TABLE IF NOT EXISTS alert_events
(
    at          DateTime64(9, 'UTC')           COMMENT 'UTC: when the state changed',
    rule        LowCardinality(String)         COMMENT 'name of the rule',
    fingerprint UInt64                         COMMENT 'FNV-1a 64 over the sorted labels, as Alertmanager''s',
    seq         UInt32 DEFAULT 0               COMMENT '1, 2, ... within one (rule, fingerprint)',
    state       LowCardinality(String)         COMMENT 'inactive, pending, firing, resolved or suppressed',
    labels      Map(String, String)            COMMENT 'what the alert is about',
    annotations Map(String, String)            COMMENT 'what a person should read',
    value       Nullable(Float64)              COMMENT 'of the rule''s expression, unit of its metric',
    starts_at   DateTime64(9, 'UTC')           COMMENT 'UTC: when the condition began',
    ends_at     Nullable(DateTime64(9, 'UTC')) COMMENT 'UTC: when it ended; null: it lasts',
    reason      Nullable(String)               COMMENT 'why, of a suppression or correction',
    stored      DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(starts_at)
ORDER BY (rule, fingerprint, starts_at, seq)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000
COMMENT 'one change of state of one alert';

CREATE TABLE IF NOT EXISTS deliveries
(
    at          DateTime64(9, 'UTC')           COMMENT 'UTC: when the attempt ended',
    endpoint    LowCardinality(String)         COMMENT 'name of the [[webhook]] in the configuration',
    webhook_id  String                         COMMENT 'constant over the attempts at one message (Standard Webhooks)',
    attempt     UInt16 DEFAULT 0               COMMENT '1, 2, ...',
    status      UInt16 DEFAULT 0               COMMENT 'HTTP status; 0: no answer',
    outcome     LowCardinality(String)         COMMENT 'delivered, retry or dead',
    rule        LowCardinality(String)         COMMENT 'of the alert, empty for a group of several',
    fingerprint UInt64 DEFAULT 0               COMMENT 'of the alert, 0 for a group of several',
    latency_ms  Float64 DEFAULT 0              COMMENT 'ms from the first byte sent to the answer',
    error       String                         COMMENT 'what went wrong, empty if nothing did',
    stored      DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (endpoint, webhook_id, attempt, at)
SETTINGS ttl_only_drop_parts = 1
COMMENT 'one attempt to deliver one message';

CREATE TABLE IF NOT EXISTS dead_letters
(
    at        DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'UTC: when it was given up',
    stage     LowCardinality(String)           COMMENT 'who gave it up: decode, insert or webhook',
    target    LowCardinality(String)           COMMENT 'table or receiver that refused it',
    topic     LowCardinality(String)           COMMENT 'Kafka topic, empty if it came from none',
    partition UInt32 DEFAULT 0                 COMMENT 'Kafka partition',
    offset    UInt64 DEFAULT 0                 COMMENT 'Kafka offset',
    position  UInt32 DEFAULT 0                 COMMENT 'row in that record',
    code      Int32 DEFAULT 0                  COMMENT 'ClickHouse error code or HTTP status, 0 if there was none',
    error     String                           COMMENT 'the refusal' CODEC(ZSTD(1)),
    payload   String                           COMMENT 'the row as JSON, bytes in base64' CODEC(ZSTD(3)),
    stored    DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (stage, target, topic, partition, offset, position, cityHash64(payload))
SETTINGS ttl_only_drop_parts = 1
COMMENT 'what was refused for good, kept for people to look at';

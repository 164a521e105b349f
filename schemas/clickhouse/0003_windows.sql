-- Closed event-time windows and their roll-ups. A late sample makes a new revision of its window with full totals;
-- read through v_10s, v_1m, v_1h, v_1d. Roll-ups are recomputed from the level below, never added to: see
-- streams/clickhouse/rollup.py.
--
-- The hour (the day for windows_1h) leads the key: a recompute or a FINAL of the last hour touches its granules only.

CREATE TABLE IF NOT EXISTS windows_10s
(
    bucket    DateTime('UTC')        COMMENT 'UTC: start of the window; the window is [bucket, bucket + size)' CODEC(DoubleDelta, ZSTD(1)),
    entity    LowCardinality(String) COMMENT 'what was measured, as in samples',
    metric    LowCardinality(String) COMMENT 'as in samples',
    rev       UInt64 DEFAULT 0       COMMENT 'last applied source offset: a higher revision replaces a lower one' CODEC(ZSTD(1)),
    cnt       UInt64 DEFAULT 0       COMMENT 'samples' CODEC(T64, ZSTD(1)),
    good      UInt64 DEFAULT 0       COMMENT 'samples inside the objective, counted exactly; cnt where there is none' CODEC(T64, ZSTD(1)),
    expected  UInt64 DEFAULT 0       COMMENT 'samples that the schedule promised; 0: none set' CODEC(T64, ZSTD(1)),
    vsum      Float64 DEFAULT 0      COMMENT 'sum of values, unit of the metric' CODEC(ZSTD(1)),
    vsumsq    Float64 DEFAULT 0      COMMENT 'sum of squared values, unit of the metric squared' CODEC(ZSTD(1)),
    vmin      Float64 DEFAULT 0      COMMENT 'smallest value' CODEC(ZSTD(1)),
    vmax      Float64 DEFAULT 0      COMMENT 'largest value' CODEC(ZSTD(1)),
    vfirst    Float64 DEFAULT 0      COMMENT 'value of the earliest sample' CODEC(ZSTD(1)),
    vlast     Float64 DEFAULT 0      COMMENT 'value of the latest sample' CODEC(ZSTD(1)),
    last_time DateTime64(9, 'UTC')   COMMENT 'UTC: time of the latest sample' CODEC(Delta, ZSTD(1)),
    increase  Float64 DEFAULT 0      COMMENT 'of a counter since the sample before this window, wraps and resets resolved; 0 for other kinds' CODEC(ZSTD(1)),
    resets    UInt32 DEFAULT 0       COMMENT 'times that the counter started anew' CODEC(T64, ZSTD(1)),
    sk        Map(Int16, UInt32)     COMMENT 'DDSketch of the values, 1 %: see sk_quantile, sk_le' CODEC(ZSTD(1)),
    stored    DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(rev)
PARTITION BY toDate(bucket)
ORDER BY (toStartOfHour(bucket), metric, entity, bucket)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    min_age_to_force_merge_seconds = 600, min_age_to_force_merge_on_partition_only = 1
COMMENT '10 s windows of one metric of one entity';

CREATE TABLE IF NOT EXISTS windows_1m
(
    bucket    DateTime('UTC')        COMMENT 'UTC: start of the window; the window is [bucket, bucket + size)' CODEC(DoubleDelta, ZSTD(1)),
    entity    LowCardinality(String) COMMENT 'what was measured, as in samples',
    metric    LowCardinality(String) COMMENT 'as in samples',
    rev       UInt64 DEFAULT 0       COMMENT 'sum of (rev + 1) of the windows it is made of: grows when one is added or revised' CODEC(ZSTD(1)),
    cnt       UInt64 DEFAULT 0       COMMENT 'samples' CODEC(T64, ZSTD(1)),
    good      UInt64 DEFAULT 0       COMMENT 'samples inside the objective, counted exactly; cnt where there is none' CODEC(T64, ZSTD(1)),
    expected  UInt64 DEFAULT 0       COMMENT 'samples that the schedule promised; 0: none set' CODEC(T64, ZSTD(1)),
    vsum      Float64 DEFAULT 0      COMMENT 'sum of values, unit of the metric' CODEC(ZSTD(1)),
    vsumsq    Float64 DEFAULT 0      COMMENT 'sum of squared values, unit of the metric squared' CODEC(ZSTD(1)),
    vmin      Float64 DEFAULT 0      COMMENT 'smallest value' CODEC(ZSTD(1)),
    vmax      Float64 DEFAULT 0      COMMENT 'largest value' CODEC(ZSTD(1)),
    vfirst    Float64 DEFAULT 0      COMMENT 'value of the earliest sample' CODEC(ZSTD(1)),
    vlast     Float64 DEFAULT 0      COMMENT 'value of the latest sample' CODEC(ZSTD(1)),
    last_time DateTime64(9, 'UTC')   COMMENT 'UTC: time of the latest sample' CODEC(Delta, ZSTD(1)),
    increase  Float64 DEFAULT 0      COMMENT 'of a counter since the sample before this window, wraps and resets resolved; 0 for other kinds' CODEC(ZSTD(1)),
    resets    UInt32 DEFAULT 0       COMMENT 'times that the counter started anew' CODEC(T64, ZSTD(1)),
    sk        Map(Int16, UInt32)     COMMENT 'DDSketch of the values, 1 %: see sk_quantile, sk_le' CODEC(ZSTD(1)),
    stored    DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(rev)
PARTITION BY toYYYYMM(bucket)
ORDER BY (toStartOfHour(bucket), metric, entity, bucket)
SETTINGS ttl_only_drop_parts = 1,
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1
COMMENT '1 min roll-up of windows_10s';

CREATE TABLE IF NOT EXISTS windows_1h
(
    bucket    DateTime('UTC')        COMMENT 'UTC: start of the window; the window is [bucket, bucket + size)' CODEC(DoubleDelta, ZSTD(1)),
    entity    LowCardinality(String) COMMENT 'what was measured, as in samples',
    metric    LowCardinality(String) COMMENT 'as in samples',
    rev       UInt64 DEFAULT 0       COMMENT 'sum of (rev + 1) of the windows it is made of: grows when one is added or revised' CODEC(ZSTD(1)),
    cnt       UInt64 DEFAULT 0       COMMENT 'samples' CODEC(T64, ZSTD(1)),
    good      UInt64 DEFAULT 0       COMMENT 'samples inside the objective, counted exactly; cnt where there is none' CODEC(T64, ZSTD(1)),
    expected  UInt64 DEFAULT 0       COMMENT 'samples that the schedule promised; 0: none set' CODEC(T64, ZSTD(1)),
    vsum      Float64 DEFAULT 0      COMMENT 'sum of values, unit of the metric' CODEC(ZSTD(1)),
    vsumsq    Float64 DEFAULT 0      COMMENT 'sum of squared values, unit of the metric squared' CODEC(ZSTD(1)),
    vmin      Float64 DEFAULT 0      COMMENT 'smallest value' CODEC(ZSTD(1)),
    vmax      Float64 DEFAULT 0      COMMENT 'largest value' CODEC(ZSTD(1)),
    vfirst    Float64 DEFAULT 0      COMMENT 'value of the earliest sample' CODEC(ZSTD(1)),
    vlast     Float64 DEFAULT 0      COMMENT 'value of the latest sample' CODEC(ZSTD(1)),
    last_time DateTime64(9, 'UTC')   COMMENT 'UTC: time of the latest sample' CODEC(Delta, ZSTD(1)),
    increase  Float64 DEFAULT 0      COMMENT 'of a counter since the sample before this window, wraps and resets resolved; 0 for other kinds' CODEC(ZSTD(1)),
    resets    UInt32 DEFAULT 0       COMMENT 'times that the counter started anew' CODEC(T64, ZSTD(1)),
    sk        Map(Int16, UInt32)     COMMENT 'DDSketch of the values, 1 %: see sk_quantile, sk_le' CODEC(ZSTD(1)),
    stored    DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(rev)
PARTITION BY toYYYYMM(bucket)
ORDER BY (toStartOfDay(bucket), metric, entity, bucket)
SETTINGS ttl_only_drop_parts = 1,
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1
COMMENT '1 h roll-up of windows_1m';

CREATE TABLE IF NOT EXISTS windows_1d
(
    bucket    DateTime('UTC')        COMMENT 'UTC: start of the window; the window is [bucket, bucket + size)' CODEC(DoubleDelta, ZSTD(1)),
    entity    LowCardinality(String) COMMENT 'what was measured, as in samples',
    metric    LowCardinality(String) COMMENT 'as in samples',
    rev       UInt64 DEFAULT 0       COMMENT 'sum of (rev + 1) of the windows it is made of: grows when one is added or revised' CODEC(ZSTD(1)),
    cnt       UInt64 DEFAULT 0       COMMENT 'samples' CODEC(T64, ZSTD(1)),
    good      UInt64 DEFAULT 0       COMMENT 'samples inside the objective, counted exactly; cnt where there is none' CODEC(T64, ZSTD(1)),
    expected  UInt64 DEFAULT 0       COMMENT 'samples that the schedule promised; 0: none set' CODEC(T64, ZSTD(1)),
    vsum      Float64 DEFAULT 0      COMMENT 'sum of values, unit of the metric' CODEC(ZSTD(1)),
    vsumsq    Float64 DEFAULT 0      COMMENT 'sum of squared values, unit of the metric squared' CODEC(ZSTD(1)),
    vmin      Float64 DEFAULT 0      COMMENT 'smallest value' CODEC(ZSTD(1)),
    vmax      Float64 DEFAULT 0      COMMENT 'largest value' CODEC(ZSTD(1)),
    vfirst    Float64 DEFAULT 0      COMMENT 'value of the earliest sample' CODEC(ZSTD(1)),
    vlast     Float64 DEFAULT 0      COMMENT 'value of the latest sample' CODEC(ZSTD(1)),
    last_time DateTime64(9, 'UTC')   COMMENT 'UTC: time of the latest sample' CODEC(Delta, ZSTD(1)),
    increase  Float64 DEFAULT 0      COMMENT 'of a counter since the sample before this window, wraps and resets resolved; 0 for other kinds' CODEC(ZSTD(1)),
    resets    UInt32 DEFAULT 0       COMMENT 'times that the counter started anew' CODEC(T64, ZSTD(1)),
    sk        Map(Int16, UInt32)     COMMENT 'DDSketch of the values, 1 %: see sk_quantile, sk_le' CODEC(ZSTD(1)),
    stored    DateTime('UTC') MATERIALIZED now() COMMENT 'UTC: when it was inserted; TTLs count from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(rev)
PARTITION BY toYear(bucket)
ORDER BY (metric, entity, bucket)
SETTINGS ttl_only_drop_parts = 1,
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1
COMMENT '1 d (UTC) roll-up of windows_1h';

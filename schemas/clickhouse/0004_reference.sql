-- What operators tell us. The row inserted last is the valid one: `version` is the clock of the insert where none is
-- given. A cancelled maintenance is its row again with cancelled = 1. Read with FINAL.

CREATE TABLE IF NOT EXISTS entities
(
    entity   LowCardinality(String)   COMMENT 'as in samples and windows',
    kind     LowCardinality(String)   COMMENT 'link, rack, interface, spacecraft, ...',
    site     LowCardinality(String)   COMMENT 'where it is',
    customer LowCardinality(String)   COMMENT 'whose contract counts it',
    zone     LowCardinality(String)   DEFAULT 'UTC' COMMENT 'IANA time zone of the contract; used only where asked for',
    attrs    Map(String, String)      COMMENT 'anything else; numbers as decimal text, such as latency_target_ms, availability_slo_pct',
    version  UInt64 DEFAULT toUnixTimestamp64Nano(now64(9)) COMMENT 'ns since 1970 of the insert: the highest is valid'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY entity
COMMENT 'what is measured, and for whom';

CREATE TABLE IF NOT EXISTS maintenance
(
    id        UInt64                  COMMENT 'unique: a later row with it replaces this one',
    entity    LowCardinality(String)  COMMENT 'what is maintained',
    start     DateTime('UTC')         COMMENT 'UTC: first second',
    end       DateTime('UTC')         COMMENT 'UTC: first second after; equal to start covers nothing',
    reason    LowCardinality(String)  DEFAULT 'planned' COMMENT 'planned, emergency, ...: queries name the reasons that count',
    cancelled UInt8 DEFAULT 0         COMMENT '1: does not count',
    version   UInt64 DEFAULT toUnixTimestamp64Nano(now64(9)) COMMENT 'ns since 1970 of the insert: the highest is valid'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
COMMENT 'agreed time in which an entity may be away';

CREATE TABLE IF NOT EXISTS contacts
(
    id              UInt64                 COMMENT 'unique: a later row with it replaces this one',
    spacecraft      LowCardinality(String) COMMENT 'entity of the windows',
    station         LowCardinality(String) COMMENT 'ground station',
    aos             DateTime('UTC')        COMMENT 'UTC: acquisition of signal as planned',
    los             DateTime('UTC')        COMMENT 'UTC: loss of signal as planned, not part of the contact',
    required_snr_db Float64 DEFAULT 0      COMMENT 'dB: at or above it the link is usable',
    version         UInt64 DEFAULT toUnixTimestamp64Nano(now64(9)) COMMENT 'ns since 1970 of the insert: the highest is valid'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
COMMENT 'planned contacts of a spacecraft with a ground station';

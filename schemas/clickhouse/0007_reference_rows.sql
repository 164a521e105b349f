-- Which rows of entities, maintenance and contacts the files of the configuration have listed ([reference] files): one that
-- is no longer listed is taken away, one that was inserted with SQL stays. See streams/clickhouse/reference.py.

CREATE TABLE IF NOT EXISTS reference_rows
(
    kind      LowCardinality(String)  COMMENT 'table: entities, maintenance or contacts',
    key       String                  COMMENT 'entity, or id as decimal text',
    is_listed UInt8                   COMMENT '1: a file lists it; 0: none does any more, and it was deleted',
    version   UInt64 DEFAULT toUnixTimestamp64Nano(now64(9)) COMMENT 'ns since 1970 of the insert: the highest is valid'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (kind, key)
COMMENT 'rows of entities, maintenance and contacts that came from files';

-- A MAC address as `orbitrack decode` writes it, aa:bb:cc:dd:ee:ff.
CREATE FUNCTION IF NOT EXISTS mac_text AS mac -> lower(MACNumToString(reinterpretAsUInt64(reverse(mac))));

-- The table keeps six bytes, people read text.
CREATE OR REPLACE VIEW v_flows AS
SELECT * REPLACE (mac_text(src_mac) AS src_mac, mac_text(dst_mac) AS dst_mac)
FROM flows FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

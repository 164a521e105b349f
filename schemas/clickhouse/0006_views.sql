-- The tables as they would be if nothing were ever sent twice. All rows of one key lie in one partition, so partitions
-- need not be merged with each other.

CREATE VIEW IF NOT EXISTS v_samples AS SELECT * FROM samples FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
CREATE VIEW IF NOT EXISTS v_flows AS SELECT * FROM flows FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
CREATE VIEW IF NOT EXISTS v_10s AS SELECT * FROM windows_10s FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
CREATE VIEW IF NOT EXISTS v_1m AS SELECT * FROM windows_1m FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
CREATE VIEW IF NOT EXISTS v_1h AS SELECT * FROM windows_1h FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
CREATE VIEW IF NOT EXISTS v_1d AS SELECT * FROM windows_1d FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

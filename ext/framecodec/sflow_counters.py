"""The counter records of sFlow version 5 that are decoded: one table, laid out like the structures of the specifications.

Each record is (place, fields), each field (metric, type, kind, unit) in wire order. Metrics are the structures' names in
snake case, a leading digit moved behind (`5s_cpu` is `cpu_5s`). sflow.pyx compiles the table; a record shorter than the
table gives the fields that it holds (hosts before 2015 send no `cpu_steal`), a longer one those of the table.

Place is where the rows belong:

    interface   <exporter>/if/<first field>          source   the interface (VLAN, ...) that is the data source
    vlan        <exporter>/vlan/<first field>        host     <exporter>/host
    queue       <exporter>/if/N/queue/<first field>      gpu      <exporter>/host/gpu: has a mem_total of its own

Types: u32, u64, f32, i32; percent (hundredths of a percent, in percent); skip32; mac (6 octets in 8), bytes16, string
(length, octets, padding). All ones, and -1.0 of an f32, is "unknown" and gives no row.

Sources: sFlow Version 5 (2004) section 5.3; the structure pages of sflow.org for LAG, optics, host, TCP/IP, virtual node,
OpenFlow port names, NVML, queue lengths and optics, the latter two and virtual nodes from memory. The layout of PFC (11,
a draft) is told by its length, see sflow.pyx. Not decoded, skipped by length: 802.11
(6, 1002), slow path (8), InfiniBand (9), JMX, HTTP, memcache, application and energy structures, Broadcom tables.
"""

from __future__ import annotations

__all__ = ["RECORDS", "Field", "Record"]

Field = tuple[str, str, str, "str | None"]
Record = tuple[str, tuple[Field, ...]]


def fields(kind: str, unit: str | None, *names: str) -> tuple[Field, ...]:
    """Fields of one kind and unit; `name:type` where the type is not u32."""
    return tuple((name.partition(":")[0], name.partition(":")[2] or "u32", kind, unit) for name in names)


def counters(unit: str, *names: str) -> tuple[Field, ...]:
    return fields("counter", unit, *names)


def gauges(unit: str | None, *names: str) -> tuple[Field, ...]:
    return fields("gauge", unit, *names)


def states(*names: str) -> tuple[Field, ...]:
    return fields("state", None, *names)


GENERIC_INTERFACE = (
    *states("if_index:skip32", "if_type"),
    *gauges("bit/s", "if_speed:u64"),
    *states("if_direction", "if_status"),
    *counters("bytes", "if_in_octets:u64"),
    *counters(
        "packets", "if_in_ucast_pkts", "if_in_multicast_pkts", "if_in_broadcast_pkts", "if_in_discards", "if_in_errors",
        "if_in_unknown_protos",
    ),
    *counters("bytes", "if_out_octets:u64"),
    *counters(
        "packets", "if_out_ucast_pkts", "if_out_multicast_pkts", "if_out_broadcast_pkts", "if_out_discards", "if_out_errors",
    ),
    *states("if_promiscuous_mode"),
)

RECORDS: dict[tuple[int, int], Record] = {
    (0, 1): ("interface", GENERIC_INTERFACE),
    (0, 2): ("source", counters(
        "frames", "dot3_stats_alignment_errors", "dot3_stats_fcs_errors", "dot3_stats_single_collision_frames",
        "dot3_stats_multiple_collision_frames", "dot3_stats_sqe_test_errors", "dot3_stats_deferred_transmissions",
        "dot3_stats_late_collisions", "dot3_stats_excessive_collisions", "dot3_stats_internal_mac_transmit_errors",
        "dot3_stats_carrier_sense_errors", "dot3_stats_frame_too_longs", "dot3_stats_internal_mac_receive_errors",
        "dot3_stats_symbol_errors",
    )),
    (0, 3): ("source", counters(
        "frames", "dot5_stats_line_errors", "dot5_stats_burst_errors", "dot5_stats_ac_errors", "dot5_stats_abort_trans_errors",
        "dot5_stats_internal_errors", "dot5_stats_lost_frame_errors", "dot5_stats_receive_congestions",
        "dot5_stats_frame_copied_errors", "dot5_stats_token_errors", "dot5_stats_soft_errors", "dot5_stats_hard_errors",
        "dot5_stats_signal_loss", "dot5_stats_transmit_beacons", "dot5_stats_recoverys", "dot5_stats_lobe_wires",
        "dot5_stats_removes", "dot5_stats_singles", "dot5_stats_freq_errors",
    )),
    (0, 4): ("source", (
        *counters("frames", "dot12_in_high_priority_frames"), *counters("bytes", "dot12_in_high_priority_octets:u64"),
        *counters("frames", "dot12_in_norm_priority_frames"), *counters("bytes", "dot12_in_norm_priority_octets:u64"),
        *counters(
            "frames", "dot12_in_ipm_errors", "dot12_in_oversize_frame_errors", "dot12_in_data_errors",
            "dot12_in_null_addressed_frames", "dot12_out_high_priority_frames",
        ),
        *counters("bytes", "dot12_out_high_priority_octets:u64"),
        *counters("transitions", "dot12_transition_into_trainings"),
        *counters(
            "bytes", "dot12_hc_in_high_priority_octets:u64", "dot12_hc_in_norm_priority_octets:u64",
            "dot12_hc_out_high_priority_octets:u64",
        ),
    )),
    (0, 5): ("vlan", (
        *states("vlan_id:skip32"),
        *counters("bytes", "octets:u64"),
        *counters("packets", "ucast_pkts", "multicast_pkts", "broadcast_pkts", "discards"),
    )),
    (0, 7): ("source", (
        *fields("text", None, "dot3ad_agg_port_actor_system_id:mac", "dot3ad_agg_port_partner_oper_system_id:mac"),
        *states(
            "dot3ad_agg_port_attached_agg_id", "dot3ad_agg_port_actor_admin_state:u8", "dot3ad_agg_port_actor_oper_state:u8",
            "dot3ad_agg_port_partner_admin_state:u8", "dot3ad_agg_port_partner_oper_state:u8",
        ),
        *counters(
            "pdus", "dot3ad_agg_port_stats_lacpdus_rx", "dot3ad_agg_port_stats_marker_pdus_rx",
            "dot3ad_agg_port_stats_marker_response_pdus_rx", "dot3ad_agg_port_stats_unknown_rx",
            "dot3ad_agg_port_stats_illegal_rx", "dot3ad_agg_port_stats_lacpdus_tx", "dot3ad_agg_port_stats_marker_pdus_tx",
            "dot3ad_agg_port_stats_marker_response_pdus_tx",
        ),
    )),
    (0, 10): ("source", (
        *states("module_id", "module_num_lanes"),
        *gauges("mV", "module_supply_voltage"), *gauges("mCel", "module_temperature:i32"),
    )),
    (0, 1001): ("host", (
        *gauges("percent", "cpu_5s:percent", "cpu_1m:percent", "cpu_5m:percent"),
        *gauges("bytes", "total_memory:u64", "free_memory:u64"),
    )),
    (0, 1003): ("queue", (
        *states("queue_index:skip32"), *gauges("bytes", "segment_size"), *gauges("segments", "queue_segments"),
        *counters(
            "packets", "queue_length0", "queue_length1", "queue_length2", "queue_length4", "queue_length8",
            "queue_length32", "queue_length128", "queue_length1024", "queue_length_more", "dropped",
        ),
    )),
    (0, 1004): ("source", (*fields("text", None, "openflow_datapath_id:hex8"), *states("openflow_port"))),
    (0, 1005): ("source", fields("text", None, "if_name:string")),
    (0, 2000): ("host", (
        *fields("text", None, "hostname:string", "uuid:uuid"), *states("machine_type", "os_name"),
        *fields("text", None, "os_release:string"),
    )),
    (0, 2002): ("host", states("container_type", "container_index")),
    (0, 2003): ("host", (
        *gauges("load", "load_one:f32", "load_five:f32", "load_fifteen:f32"),
        *gauges("processes", "proc_run", "proc_total"), *gauges("cpus", "cpu_num"), *gauges("MHz", "cpu_speed"),
        *gauges("s", "uptime"),
        *counters("ms", "cpu_user", "cpu_nice", "cpu_system", "cpu_idle", "cpu_wio", "cpu_intr", "cpu_sintr"),
        *counters("interrupts", "interrupts"), *counters("switches", "contexts"),
        *counters("ms", "cpu_steal", "cpu_guest", "cpu_guest_nice"),
    )),
    (0, 2004): ("host", (
        *gauges(
            "bytes", "mem_total:u64", "mem_free:u64", "mem_shared:u64", "mem_buffers:u64", "mem_cached:u64", "swap_total:u64",
            "swap_free:u64",
        ),
        *counters("pages", "page_in", "page_out", "swap_in", "swap_out"),
    )),
    (0, 2005): ("host", (
        *gauges("bytes", "disk_total:u64", "disk_free:u64"), *gauges("percent", "part_max_used:percent"),
        *counters("operations", "reads"), *counters("bytes", "bytes_read:u64"), *counters("ms", "read_time"),
        *counters("operations", "writes"), *counters("bytes", "bytes_written:u64"), *counters("ms", "write_time"),
    )),
    # The structure says `pkts_in` but `packets_out`.
    (0, 2006): ("host", (
        *counters("bytes", "bytes_in:u64"), *counters("packets", "pkts_in", "errs_in", "drops_in"),
        *counters("bytes", "bytes_out:u64"), *counters("packets", "packets_out", "errs_out", "drops_out"),
    )),
    (0, 2007): ("host", (
        *states("ip_forwarding", "ip_default_ttl"),
        *counters(
            "packets", "ip_in_receives", "ip_in_hdr_errors", "ip_in_addr_errors", "ip_forw_datagrams", "ip_in_unknown_protos",
            "ip_in_discards", "ip_in_delivers", "ip_out_requests", "ip_out_discards", "ip_out_no_routes",
        ),
        *gauges("s", "ip_reasm_timeout"),
        *counters(
            "packets", "ip_reasm_reqds", "ip_reasm_oks", "ip_reasm_fails", "ip_frag_oks", "ip_frag_fails", "ip_frag_creates",
        ),
    )),
    (0, 2008): ("host", counters(
        "packets", "icmp_in_msgs", "icmp_in_errors", "icmp_in_dest_unreachs", "icmp_in_time_excds", "icmp_in_param_probs",
        "icmp_in_src_quenchs", "icmp_in_redirects", "icmp_in_echos", "icmp_in_echo_reps", "icmp_in_timestamps",
        "icmp_in_addr_masks", "icmp_in_addr_mask_reps", "icmp_out_msgs", "icmp_out_errors", "icmp_out_dest_unreachs",
        "icmp_out_time_excds", "icmp_out_param_probs", "icmp_out_src_quenchs", "icmp_out_redirects", "icmp_out_echos",
        "icmp_out_echo_reps", "icmp_out_timestamps", "icmp_out_timestamp_reps", "icmp_out_addr_masks",
        "icmp_out_addr_mask_reps",
    )),
    (0, 2009): ("host", (
        *states("tcp_rto_algorithm"), *gauges("ms", "tcp_rto_min", "tcp_rto_max"), *gauges("connections", "tcp_max_conn"),
        *counters("connections", "tcp_active_opens", "tcp_passive_opens", "tcp_attempt_fails", "tcp_estab_resets"),
        *gauges("connections", "tcp_curr_estab"),
        *counters("segments", "tcp_in_segs", "tcp_out_segs", "tcp_retrans_segs", "tcp_in_errs", "tcp_out_rsts",
                  "tcp_in_csum_errors"),
    )),
    (0, 2010): ("host", counters(
        "datagrams", "udp_in_datagrams", "udp_no_ports", "udp_in_errors", "udp_out_datagrams", "udp_rcvbuf_errors",
        "udp_sndbuf_errors", "udp_in_csum_errors",
    )),
    (0, 2100): ("source", (
        *gauges("MHz", "mhz"), *gauges("cpus", "cpus"), *gauges("bytes", "memory:u64", "memory_free:u64"),
        *gauges("domains", "num_domains"),
    )),
    (0, 2101): ("source", (*states("state"), *counters("ms", "cpu_time"), *gauges("cpus", "nr_virt_cpu"))),
    (0, 2102): ("source", gauges("bytes", "memory:u64", "max_memory:u64")),
    (0, 2103): ("source", (
        *gauges("bytes", "capacity:u64", "allocation:u64", "available:u64"), *counters("operations", "rd_req"),
        *counters("bytes", "rd_bytes:u64"), *counters("operations", "wr_req"), *counters("bytes", "wr_bytes:u64"),
        *counters("operations", "errs"),
    )),
    (0, 2104): ("source", (
        *counters("bytes", "rx_bytes:u64"), *counters("packets", "rx_packets", "rx_errs", "rx_drop"),
        *counters("bytes", "tx_bytes:u64"), *counters("packets", "tx_packets", "tx_errs", "tx_drop"),
    )),
    (5703, 1): ("gpu", (
        *gauges("devices", "device_count"), *gauges("processes", "processes"), *counters("ms", "gpu_time", "mem_time"),
        *gauges("bytes", "mem_total:u64", "mem_free:u64"), *counters("errors", "ecc_errors"), *counters("mJ", "energy"),
        *gauges("Cel", "temperature"), *gauges("percent", "fan_speed"),
    )),
}

# One lane of an optical module (record 0:10): index, then these.
LANE: tuple[Field, ...] = (
    *gauges("uA", "tx_bias_current"), *gauges("uW", "tx_power", "tx_power_min", "tx_power_max"), *gauges("nm", "tx_wavelength"),
    *gauges("uW", "rx_power", "rx_power_min", "rx_power_max"), *gauges("nm", "rx_wavelength"),
)

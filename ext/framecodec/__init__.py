"""framecodec: untrusted bytes to Arrow columns, without the GIL.

Every module works in three rings: a `def` method acquires buffers once per batch and releases the GIL once;
`cdef noexcept nogil` functions read between explicit ends; one function turns a status into a reject row or an exception.

Indented modules are used by the one above them only, or nearly so.

    numbers     bits (at any bit, in every coding; whole octets), text, timecodes
    rows        columns (rows that grow, out as Arrow; column: the struct), names (that repeat), records (the model's columns by
                number), link_rows (measures and rejects)
                    rows_out, arrow_out (to Arrow without a copy), arrow (its C structs)
    frames in   frame_input (a batch as decoders read it), frame_view (as those who route look at it)
    receiving   datagrams (recvmmsg) -> batches (one growing batch a partition), partitions (which one)
                    recvmmsg, senders (rates, counts), priorities (what is shed last), messages (IPFIX over TCP)
    captures    pcap -> udp -> fragments
    satellite   frames: bytes to rows of frames, and to packets
                    cadu (sync marker) -> frame_cutter -> coding (randomizer, Reed-Solomon, CRC), locator (what is wrong)
                    frame_streams, arrivals (undecided bytes), transfer (headers of TM, AOS, USLP), header_check
                    frame_counts (losses), channels -> channel_modes (packets of a channel), clcw, frame_rows
                packets: packets to rows, values and samples
                    sync -> header_chains, packet_input, found_packets, encapsulation; sequences, segments
                    packet_slices (what becomes of them) -> packet_table, packet_rows -> melt (SAMPLES)
                plan: a definition (XTCE), running
                    planning -> layouts (C structs); column_runs, programs -> raw_values -> meanings; conditions, values
                    trees -> tree_out (nested columns), blocks (their memory)
    rack        rack, headers, rack_text, state_table: what both share
                sflow: sflow_samples, sflow_flows, sflow_counter_records, sflow_counters
                netflow (v5, v9, IPFIX): netflow5, netflow_sets, held_sets, netflow_records, netflow_rows, netflow_fields,
                    netflow_biflow, netflow_named, netflow_options
                    templates, template_state, elements, netflow_elements (the table)
    windows     windows (event time): groups, cells (what one counts), sample_columns; window_state, blobs (as bytes)
    storage     native (ClickHouse blocks): native_values; order (of the table's key)
"""

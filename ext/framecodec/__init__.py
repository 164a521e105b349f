"""framecodec: untrusted bytes to Arrow columns, without the GIL.

Every module works in three rings: a `def` method acquires buffers once per batch and releases the GIL once;
`cdef noexcept nogil` functions read between explicit ends; one function turns a status into a reject row or an exception.

    shared      columns (rows that grow, names that repeat, both out as Arrow), records (the model's columns by number), arrow
    receiving   datagrams (recvmmsg), batches (one growing batch a partition)
    captures    pcap, udp, fragments
    satellite   cadu (sync marker) -> coding (randomizer, Reed-Solomon, CRC)
                -> frames, transfer, channels (TM, AOS, USLP, reassembly)
                -> packets, sync, segments, packet_table (space packets) -> plan, planning, bits, text, timecodes, values (XTCE)
                -> trees (nested columns), melt (SAMPLES)
    rack        rack (what both share), sflow, headers; netflow, templates (NetFlow v5, v9, IPFIX)
    windows     windows (event time), cells (what one counts), blobs (its state as bytes)
    storage     native (ClickHouse blocks)
"""

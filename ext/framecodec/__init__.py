"""framecodec: untrusted bytes to Arrow columns, without the GIL.

Every module works in three rings: a `def` method acquires buffers once per batch and releases the GIL once;
`cdef noexcept nogil` functions read between explicit ends; one function turns a status into a reject row or an exception.

| module      | what it knows                                                             |
|-------------|---------------------------------------------------------------------------|
| `columns`   | rows that grow, names that repeat, and how both leave as Arrow            |
| `bits`      | big-endian reads at any bit offset                                         |
| `packets`   | CCSDS space packets: index, resync, gaps                                  |
| `plan`      | compiled XTCE layouts                                                      |
| `timecodes` | CCSDS day-segmented time to int64 ns                                       |
| `sflow`     | sFlow v5                                                                   |
| `windows`   | event-time windows, DDSketch, their state as bytes                         |
| `native`    | ClickHouse Native blocks                                                   |
| `datagrams` | recvmmsg into FRAMES                                                       |
"""

"""ClickHouse over HTTP: the only importer of clickhouse_connect.

| module    | what it knows                                                                        |
|-----------|--------------------------------------------------------------------------------------|
| `client`  | how to connect, and whose fault a refusal is                                          |
| `migrate` | schemas/clickhouse/*.sql, applied once and in order                                   |
| `native`  | record batches of streams/model.py as Native blocks                                   |
| `sink`    | blocks in, answers out: batching, retries, the one bad row among a hundred thousand   |
| `rollup`  | windows_1m, _1h and _1d from the level below                                          |
| `queries` | the SLA catalogue                                                                     |

The same code speaks to a server, a cluster and the embedded gateway.
"""

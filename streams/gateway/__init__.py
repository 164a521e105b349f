"""ClickHouse's HTTP interface over chDB, in one process: what the embedded default uses instead of a server.

    engine = Engine(path, users); engine.open()
    gateway = Gateway(engine, users, telemetry)
    web.AppRunner(gateway.application(), auto_decompress=False, handler_cancellation=True)

The rest of orbitrack knows this package only by what it speaks: streams/clickhouse is the same against a server.
Map: server (handlers) > request, sessions, access (users and the guard) > engine (chDB) > sql, formats, blocks, compression,
errors. Users made in SQL: access_sql (statements) > access_changes, access_reader > entities (what is kept of them).
"""

from streams.gateway.access import User
from streams.gateway.engine import Engine
from streams.gateway.server import Gateway

__all__ = ["Engine", "Gateway", "User"]

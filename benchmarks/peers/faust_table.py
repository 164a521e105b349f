"""The plain way with Faust: one record a packet, a windowed table, one key for each metric.

    python benchmarks/peers/faust_table.py BOOTSTRAP TOPIC RECORDS

Prints one JSON line: seconds from the first record to the last, CPU seconds between them, and the sum of all window counts
and of the first parameter, to be compared with the truth. A window keeps count, sum, minimum and maximum of a metric, and for
the peer's benefit is that of Kafka's timestamp, which spares it a clock.
"""

import json
import os
import struct
import sys
import time
from math import inf

from mode.loop import use

use("uvloop")

import faust  # noqa: E402

bootstrap, topic, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
PACKET = struct.Struct(">HHHHIH5f")

app = faust.App(
    f"plain-{os.getpid()}", broker=f"kafka://{bootstrap}", value_serializer="raw", key_serializer="raw", web_enabled=False,
    store="memory://", topic_partitions=1, consumer_auto_offset_reset="earliest", stream_recovery_delay=0,
    topic_allow_declare=True, datadir=f"/tmp/plain-faust-{os.getpid()}",
)
windows = app.Table("windows", default=lambda: [0, 0.0, inf, -inf], partitions=1).tumbling(10.0)
counted = 0
total = 0.0
started = cpu = 0.0


def add(row, value):
    return [row[0] + 1, row[1] + value, min(row[2], value), max(row[3], value)]


@app.agent(app.topic(topic, value_type=bytes))
async def count(stream):
    global counted, total, started, cpu
    async for event in stream.events():
        packet = event.value
        head, _, _, _, _, _, *values = PACKET.unpack_from(packet)
        for number, value in enumerate(values):
            windows[head & 0x7FF, number].apply(add, value, event)
        if counted == 0:
            started, cpu = time.perf_counter(), time.process_time()
        counted += 1
        total += values[0]
        if counted == records:
            seconds = time.perf_counter() - started
            used = time.process_time() - cpu
            found = {"seconds": seconds, "cpu_seconds": used, "count": counted, "sum": total}
            print(json.dumps(found), file=sys.__stdout__, flush=True)         # Faust has sys.stdout
            os._exit(0)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "-l", "error"]
    app.main()

"""The plain way with Faust: one record a packet, a windowed table, one update a record.

    python benchmarks/peers/faust_table.py BOOTSTRAP TOPIC RECORDS

Prints one JSON line: seconds from the first record to the last, CPU seconds between them, and the sum of all window counts
and of the first parameter, to be compared with the truth. For the peer's benefit a record's five values are one update.
"""

import json
import os
import struct
import sys
import time

from mode.loop import use

use("uvloop")

import faust  # noqa: E402

bootstrap, topic, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
PACKET = struct.Struct(">HHHHIH5f")
EPOCH_1958_S = -378_691_200

app = faust.App(
    f"plain-{os.getpid()}", broker=f"kafka://{bootstrap}", value_serializer="raw", key_serializer="raw", web_enabled=False,
    store="memory://", topic_partitions=1, consumer_auto_offset_reset="earliest", stream_recovery_delay=0,
    topic_allow_declare=True, datadir=f"/tmp/plain-faust-{os.getpid()}",
)
windows = app.Table("windows", default=lambda: [0, 0.0, 0.0, 0.0, 0.0, 0.0], partitions=1).tumbling(10.0)
counted = 0
total = 0.0
started = cpu = 0.0


@app.agent(app.topic(topic, value_type=bytes))
async def count(stream):
    global counted, total, started, cpu
    async for event in stream.events():
        packet = event.value
        head, _, _, day, millisecond, _, *values = PACKET.unpack_from(packet)
        time_s = EPOCH_1958_S + day * 86_400 + millisecond / 1000
        key = head & 0x7FF
        window = windows[key]
        row = window.at(time_s) if hasattr(window, "at") else window.value()
        updated = [row[0] + 1, *(have + more for have, more in zip(row[1:], values, strict=True))]
        windows[key] = updated
        if counted == 0:
            started, cpu = time.perf_counter(), time.process_time()
        counted += 1
        total += values[0]
        if counted == records:
            seconds = time.perf_counter() - started
            used = time.process_time() - cpu
            print(json.dumps({"seconds": seconds, "cpu_seconds": used, "count": counted, "sum": total}), flush=True)
            os._exit(0)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "-l", "error"]
    app.main()

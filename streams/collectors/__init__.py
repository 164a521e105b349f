"""Bytes in, batches of FRAMES out.

    udp.py, tcp.py   listeners: sockets and threads; each fills a framecodec.batches.Batches
    batches.py       topics, partitions, and how much memory may be on its way (Intake)
    delivery.py      batches to Kafka, in order, for as long as it takes
    losses.py        what was received and lost, as samples
    collector.py     all of it together: the role `collect`

Nothing here knows a format, beyond where one packet ends and the next begins. Every frame that reached us is delivered or
counted with a reason.
"""

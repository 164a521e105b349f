"""Bytes in, batches of FRAMES out.

    udp.py, tcp.py   listeners: sockets and threads; each fills a framecodec.batches.Batches
    batches.py       topics, partitions, and how much memory may be on its way (Intake)
    delivery.py      batches to Kafka, in order, once, for as long as it takes
    spill.py         batches on disk while Kafka is away
    losses.py        what was received and lost, as samples
    collector.py     all of it together: the role `collect`

Nothing here knows a format beyond its headers: whose a datagram is, whether it is worth more than flows (framecodec.partitions,
framecodec.priorities), and where one packet ends and the next begins. Every frame that reached us is delivered or counted
with a reason.
"""

"""The production parts brought by pip: a real Kafka broker, the ClickHouse engine behind HTTP, and all roles in one command.

Embedded is one node without replication. Production is docker-compose.yml, or any Kafka and ClickHouse cluster.
"""

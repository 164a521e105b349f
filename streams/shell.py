"""Faust as a shell: group membership, assignment, lifecycle. Never the inner loop, never its tables, never its acks.

    app = make_app(config, "worker")
    ...
    run_app(app)

Three things about Faust 0.15 shape this file, each seen on a real broker (docs/architecture.md):
it hands records of aborted transactions to its agents unless its consumer is made read_committed; it hides a failed agent
behind a restart and acks in `finally`, so an exception there must end the process (`die_on_failure`); and it costs
about 0.3 ms a record, so records are batches.
"""

from __future__ import annotations

import logging
import os
import traceback
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mode.loop import use

# Before `import faust`, or it has no effect; +22 % for this loop.
use("uvloop")

import faust  # noqa: E402
from faust.auth import SASLCredentials, SSLCredentials  # noqa: E402
from faust.transport.drivers import aiokafka as driver  # noqa: E402

from streams.errors import OrbitrackError  # noqa: E402
from streams.folders import make_folder  # noqa: E402
from streams.kafka import METADATA_MAX_AGE_MS, tls_context  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from faust.types.auth import CredentialsT

    from streams.config import Config, Kafka

__all__ = ["EXIT_FAILED", "die_on_failure", "make_app", "run_app"]

log = logging.getLogger(__name__)

# The supervisor (`orbitrack up`, docker) starts a new process; nothing that was not committed counts.
EXIT_FAILED = 70


class CommittedThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"      # read when the consumer starts
        return consumer


class CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> Any:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)


def make_app(config: Config, name: str, **settings: Any) -> faust.App:
    """A Faust app named `<prefix><name>` (also its consumer group) that reads committed records as raw bytes."""
    data_dir = Path(config.data_dir) / "faust"            # Faust wants one; without tables it stays empty
    make_folder(data_dir)
    log.setLevel(logging.WARNING)                         # Faust's services log as the module of their class
    app = faust.App(
        f"{config.kafka.prefix}{name}",
        broker=[f"kafka://{server}" for server in config.kafka.bootstrap.split(",")],
        broker_credentials=credentials(config.kafka),
        datadir=str(data_dir),
        topic_partitions=config.kafka.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        broker_max_poll_records=200,
        consumer_max_fetch_size=8 << 20,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        stream_wait_empty=False,
        stream_recovery_delay=0,
        broker_commit_livelock_soft_timeout=1e9,          # our transactions commit, unseen by Faust
        broker_check_crcs=False,                          # TCP and the Arrow reader check; 6 % of the loop
        **settings,
    )
    app.transport.Consumer = CommittedConsumer
    return app


def credentials(kafka: Kafka) -> CredentialsT | None:
    """Faust's form of `streams.kafka.connection`."""
    context = tls_context(kafka) if kafka.tls else None
    if kafka.user and kafka.password:
        return SASLCredentials(
            username=kafka.user, password=kafka.password.reveal(), ssl_context=context, mechanism=kafka.mechanism
        )
    return SSLCredentials(context) if context else None


def run_app(app: faust.App, log_level: str = "WARNING") -> None:
    """Runs until SIGINT or SIGTERM. Does not return: Faust ends the process."""
    # aiokafka says "NotEnoughReplicas, retrying" for the broker's check of each new transaction; real ones end in an error.
    logging.getLogger("aiokafka.producer.sender").setLevel(logging.ERROR)
    app.finalize()
    worker = app.Worker(loglevel=log_level, quiet=True, redirect_stdouts=False, override_logging=False)
    worker.spinner = None                                 # it would write escape codes to stdout
    worker.execute_from_commandline()


def die_on_failure(task: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wraps an agent or task: an exception is logged and ends the process at once, before Faust can ack or restart."""

    @wraps(task)                                          # Faust looks at the signature
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await task(*args, **kwargs)
        except Exception as error:                        # noqa: BLE001  the edge of a process
            text, status = traceback.format_exc(), EXIT_FAILED
            if isinstance(error, OrbitrackError):         # says what to do; where it was raised does not help
                text, status = str(error), error.exit_status
            log.critical("%s failed; ending the process: nothing is acknowledged\n%s", task.__name__, text)
            logging.shutdown()
            os._exit(status)

    return guarded

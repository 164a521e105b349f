"""`orbitrack worker`: decode frames and close windows. Start as many as there is work for; Kafka spreads the partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streams.cli import current_session, pass_config
from streams.cli.logs import set_up_logging

if TYPE_CHECKING:
    from streams.config import Config

__all__ = ["command"]


@click.command()
@pass_config
def command(config: Config) -> None:
    """Decode frames and close windows, exactly once."""
    from streams.worker import run

    set_up_logging(current_session().log_format)
    run(config)

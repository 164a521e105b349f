"""`orbitrack alert`: evaluate rules on closed windows and send webhooks. One process serves an installation."""

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
    """Evaluate rules on closed windows and send webhooks. One process is enough, and all there may be."""
    from streams.alert import run

    set_up_logging(current_session().log_format)
    run(config)

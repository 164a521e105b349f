"""`orbitrack serve`: service levels as a page and as JSON."""

from __future__ import annotations

import asyncio
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
    """Web page, JSON API and metrics on [web] listen."""
    from streams.serve import run

    set_up_logging(current_session().log_format)
    asyncio.run(run(config))

"""`orbitrack up`: everything on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli import Session, current_session
from streams.cli.logs import set_up_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.config import Config

__all__ = ["command"]


@click.command()
@click.option("--demo", is_flag=True, help="With a simulated fleet, a webhook receiver and a running commentary.")
@click.option("--only", metavar="ROLE,...", help="kafka database collect worker store alert serve; ROLE=N starts N of it.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data lasts; default: data_dir of the configuration.")
@click.option("--port-offset", type=click.IntRange(0, 50_000), default=0, metavar="N", help="Added to every port.")
@click.option("--exit-after", type=click.FloatRange(0), metavar="S", help="End with status 0 after S seconds of operation.")
def command(demo: bool, only: str | None, data_dir: Path | None, port_offset: int, exit_after: float | None) -> None:
    """Run every role on this machine, each as a process of its own, until Ctrl-C."""
    from streams.embedded.up import Options, Up, parse_roles

    session = current_session()
    set_up_logging(session.log_format)
    config = configuration(session, demo, data_dir)
    options = Options(
        roles=parse_roles(only), port_offset=port_offset, exit_after_s=exit_after, log_format=session.log_format,
        config_file=session.config_file, is_demo=demo,
    )
    say = teller(session.log_format)

    async def run() -> None:
        up = Up(config, options, say)
        if demo:
            from streams.embedded.demo import Demo

            await up.run(lambda running: asyncio.ensure_future(Demo(running, say).run()))
        else:
            await up.run()

    asyncio.run(run())


def configuration(session: Session, demo: bool, data_dir: Path | None) -> Config:
    """The configuration; of the demo, unless one was named, its own file in the data directory."""
    if data_dir is not None:
        os.environ["ORBITRACK__DATA_DIR"] = str(data_dir.absolute())
    if demo and session.config_file is None and "ORBITRACK_CONFIG" not in os.environ:
        from streams.embedded.demo import write_config

        session.config_file = write_config(data_dir or Path("orbitrack-data"))
        os.environ.setdefault("ORBITRACK__DATA_DIR", str(session.config_file.parent.absolute()))
    return session.config


def teller(log_format: str) -> Callable[[str], None]:
    """Prints what happens, for people or as JSON lines."""
    started = time.monotonic()

    def tell(text: str) -> None:
        seconds = time.monotonic() - started
        if log_format == "json":
            click.echo(json.dumps({"seconds": round(seconds, 1), "message": text}))
        else:
            click.echo(f"{seconds:6.1f} s  {text}")
        sys.stdout.flush()

    return tell

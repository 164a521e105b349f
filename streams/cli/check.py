"""`orbitrack check`: is everything that was written by hand usable, before anything starts?"""

from __future__ import annotations

import os
from pathlib import Path

import click

from streams.cli import current_session
from streams.config import read_config
from streams.toml import to_toml

__all__ = ["command"]


@click.command()
@click.option("--dump", is_flag=True, help="Print the effective configuration as TOML, without secrets.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
def command(dump: bool, files: tuple[Path, ...]) -> None:
    """Check the configuration and the definitions, SLOs and rules that it or the command line names."""
    config, errors = read_config(current_session().config_file, os.environ)
    for error in errors:
        click.echo(str(error), err=True)
    if config is None:
        raise SystemExit(2)
    if dump:
        click.echo(to_toml(config.dump()), nl=False)

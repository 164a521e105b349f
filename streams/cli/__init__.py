"""The command line: `orbitrack COMMAND`.

One module a command, `streams/cli/NAME.py`, each with a click command called `command`; a module is imported only when its
command runs, so that `orbitrack --help` stays quick. Every command also takes `--config` and `--log-format`. A command that
wants the configuration says so:

    @click.command()
    @pass_config
    def command(config: Config) -> None: ...

An OrbitrackError ends the process with its `exit_status` and its message on stderr, without a traceback.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.errors import OrbitrackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.config import Config

__all__ = ["Session", "current_session", "main", "pass_config"]

# In the order of --help; the text is here so that --help need not import the modules.
COMMANDS = {
    "up": "Run everything on this machine: Kafka, database and all roles.",
    "collect": "Receive frames from the network and put them into Kafka.",
    "worker": "Decode frames and close windows.",
    "store": "Write what the workers made into ClickHouse.",
    "alert": "Evaluate rules and send webhooks.",
    "serve": "Web page, JSON API and metrics.",
    "decode": "Print what captures hold.",
    "replay": "Send captures into Kafka or to a socket.",
    "inspect": "Show one frame or packet bit by bit.",
    "simulate": "Send the frames of a made-up fleet.",
    "sql": "Ask the database.",
    "slo": "Report service levels.",
    "alerts": "List alerts, try webhooks.",
    "migrate": "Bring the database's tables up to date.",
    "check": "Check configuration, definitions, SLOs and rules.",
}


@dataclass
class Session:
    """What the common options said."""

    config_file: Path | None = None
    log_format: str = "text"
    loaded: Config | None = None

    @property
    def config(self) -> Config:
        """Raises ConfigError."""
        if self.loaded is None:
            from streams.config import load_config

            self.loaded = load_config(self.config_file, os.environ)
        return self.loaded


def current_session() -> Session:
    session: Session = click.get_current_context().find_root().ensure_object(Session)
    return session


def pass_config(function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls `function(config, ...)`."""

    def with_config(*args: Any, **kwargs: Any) -> Any:
        return function(current_session().config, *args, **kwargs)

    return update_wrapper(with_config, function)


def set_config_file(_context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    if path is not None:
        current_session().config_file = path


def set_log_format(_context: click.Context, _option: click.Parameter, log_format: str | None) -> None:
    from streams.cli.logs import set_up_logging

    if log_format is not None:
        current_session().log_format = log_format
    set_up_logging(current_session().log_format)


def show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"orbitrack {version('orbitrack')}")
        except PackageNotFoundError:
            click.echo("orbitrack (not installed)")
        context.exit()


def common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config", "-c"], type=click.Path(path_type=Path), expose_value=False, callback=set_config_file, is_eager=True,
            metavar="FILE", help="Configuration; default $ORBITRACK_CONFIG, else ./orbitrack.toml.",
        ),
        click.Option(
            ["--log-format"], type=click.Choice(["text", "json"]), expose_value=False, callback=set_log_format,
            help="Of messages and progress on stderr.",
        ),
    ]


def add_common_options(command: click.Command) -> None:
    """To the command, and to each of its own: they may stand wherever somebody writes them."""
    taken = {option for parameter in command.params for option in parameter.opts}
    command.params += [option for option in common_options() if not taken & set(option.opts)]
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        add_common_options(below)


class CommandGroup(click.Group):
    """Imports a command when it is asked for, gives it the common options, and turns our errors into exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"streams.cli.{name}").command
        command.name = name
        add_common_options(command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from streams.errors import nearest

            match = nearest(args[0], COMMANDS)
            ctx.fail(f"No such command '{args[0]}'." + (f" Did you mean '{match}'?" if match else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OrbitrackError as error:
            report(error, ctx.ensure_object(Session).log_format)
            ctx.exit(error.exit_status)


def report(error: OrbitrackError, log_format: str) -> None:
    if log_format == "json":
        click.echo(json.dumps({"level": "error", "message": str(error), "exit_status": error.exit_status}), err=True)
    else:
        click.echo(str(error), err=True)


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=CommandGroup, params=common_options(), context_settings=CONTEXT)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version.")
def main() -> None:
    """Network telemetry of satellites and racks: frames in, SLA answers out."""

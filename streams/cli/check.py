"""`orbitrack check`: is everything that was written by hand usable, before anything starts?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli import current_session
from streams.errors import ConfigError, DefinitionError, InputError, OrbitrackError, UsageError

if TYPE_CHECKING:
    from streams.config import Config

__all__ = ["command"]

Check = tuple[str, Callable[[], str]]


@click.command()
@click.option("--dump", is_flag=True, help="Print the effective configuration as TOML, without secrets.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
def command(dump: bool, files: tuple[Path, ...]) -> None:
    """Check the configuration and what it names, or the given FILEs: definitions, SLOs, rules, configurations.

    Every mistake is named in at most three lines: file and line, the place inside, a hint. Exit status 2 if there is one.
    """
    from streams.config import read_config
    from streams.toml import to_toml

    mistakes: list[OrbitrackError] = []
    checks: list[Check] = []
    if not files or dump:
        config, errors = read_config(current_session().config_file, os.environ)
        mistakes += errors
        if config is not None and dump:
            click.echo(to_toml(config.dump()), nl=False)
        if config is not None:
            checks += [("configuration", partial(contents, config)), *checks_of_config(config)]
    checks += checks_of_files(files)
    for name, check in checks:
        try:
            found = check()
        except OrbitrackError as error:
            mistakes.append(error)
        else:
            if not dump:
                click.echo(f"{name}: {found}")
    for mistake in mistakes:
        click.echo(str(mistake), err=True)
    if mistakes:
        raise SystemExit(ConfigError.exit_status)


def checks_of_config(config: Config) -> Iterator[Check]:
    for definition, container in dict.fromkeys((link.definition, link.container) for link in config.links):
        if definition is not None:
            yield str(definition), partial(check_definition, definition, container)
    if config.slo.files:
        yield "SLOs", partial(check_slos, config.slo.files)
    if config.alert.rules:
        yield "rules", partial(check_rules, config.alert.rules, [webhook.name for webhook in config.webhooks])


def checks_of_files(files: tuple[Path, ...]) -> Iterator[Check]:
    """By what they are; SLO files together, because they may refer to each other."""
    slos: list[Path] = []
    for file in files:
        if file.suffix == ".toml":
            yield str(file), partial(check_config, file)
        elif file.suffix in (".xml", ".csv"):
            yield str(file), partial(check_definition, file, None)
        elif file.suffix not in (".yaml", ".yml"):
            raise UsageError(f"{file}: neither .toml, .xml, .csv nor .yaml")
        elif "openslo" in first_text(file):
            slos.append(file)
        else:
            yield str(file), partial(check_rules, [file], None)
    if slos:
        yield ", ".join(map(str, slos)), partial(check_slos, slos)


def first_text(file: Path) -> str:
    """Enough of a YAML file to see its apiVersion."""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(65_536)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def check_config(file: Path) -> str:
    from streams.config import load_config

    config = load_config(file, os.environ)
    for _, check in checks_of_config(config):
        check()
    return contents(config)


def contents(config: Config) -> str:
    return f"{len(config.links)} links, {len(config.webhooks)} webhooks, {len(config.objectives)} objectives"


def check_definition(file: Path, container: str | None) -> str:
    from streams import definitions

    definition = definitions.load(file, container=container)
    return f"{len(definition.containers)} containers, {len(definition.parameters)} parameters"


def check_slos(files: list[Path]) -> str:
    from streams import slo

    return f"{len(slo.load(files))} SLOs"


def check_rules(files: list[Path], webhooks: list[str] | None) -> str:
    from streams.errors import nearest
    from streams.rules import load_rules

    rules = load_rules(files)
    for rule in rules if webhooks is not None else ():
        for name in set(rule.webhooks or ()) - set(webhooks or ()):
            match = nearest(name, webhooks or ())
            hint = f"did you mean '{match}'?" if match else f"configured are: {', '.join(webhooks or ()) or 'none'}"
            raise DefinitionError(f"no [[webhook]] is named '{name}'", file=files[0], path=f"rule {rule.name}", hint=hint)
    return f"{len(rules)} rules"

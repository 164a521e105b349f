"""`orbitrack check`: is everything that was written by hand usable, before anything starts?

Every mistake of every file is named, also where one file keeps another from being used. Files that name each other are looked
at together: rules name webhooks and SLOs, SLOs name webhooks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli import current_session, report
from streams.errors import ConfigError, DefinitionError, InputError, OrbitrackError, UsageError

if TYPE_CHECKING:
    from streams.config import Config, Link, Webhook
    from streams.slo import Slo

__all__ = ["command"]


@dataclass
class Findings:
    """What is right (to stdout) and what is wrong (to stderr)."""

    mistakes: list[OrbitrackError] = field(default_factory=list)
    good: list[str] = field(default_factory=list)

    def add(self, name: str, found: str, mistakes: Sequence[OrbitrackError]) -> None:
        self.mistakes += mistakes
        if not mistakes:
            self.good.append(f"{name}: {found}")


@click.command()
@click.option("--dump", is_flag=True, help="Print the effective configuration as TOML, without secrets.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
def command(dump: bool, files: tuple[Path, ...]) -> None:
    """Check the configuration and what it names, or the given FILEs: definitions, SLOs, rules, configurations.

    Every mistake is named in at most three lines: file and line, the place inside, a hint. Exit status 2 if there is one.
    """
    findings = Findings()
    if not files or dump:
        check_config(findings, current_session().config_file, "configuration", dump=dump)
    check_files(findings, files)
    for line in findings.good if not dump else ():
        click.echo(line)
    for mistake in findings.mistakes:
        report(mistake, current_session().log_format)
    if findings.mistakes:
        raise SystemExit(ConfigError.exit_status)


def check_config(findings: Findings, file: Path | None, name: str, *, dump: bool = False) -> None:
    """The configuration and the files that it names. With mistakes in it, the files are looked at as far as they are known."""
    from streams.config import examine_config, find_config
    from streams.toml import to_toml

    config, errors = examine_config(file, os.environ)
    found = contents(config)
    if find_config(file, os.environ) is None:
        found += "; there is no orbitrack.toml here: -c FILE or $ORBITRACK_CONFIG names another"
    findings.add(name, found, errors)
    if dump and not errors:
        click.echo(to_toml(config.dump()), nl=False)
    for definition, container in dict.fromkeys((link.definition, link.container) for link in config.links):
        if definition is not None:
            check_definition(findings, definition, container)
    for link in config.links:
        check_decoder(findings, link)
    for elements in dict.fromkeys(link.elements for link in config.links if link.elements is not None):
        check_elements(findings, elements)
    webhooks = None if in_doubt(errors, r"webhook\[\d+\]\.name") else [webhook.name for webhook in config.webhooks]
    slos = check_slos(findings, "SLOs", config.slo.files, webhooks) if config.slo.files else []
    check_rules(findings, "rules", config.alert.rules, webhooks, None if in_doubt(errors, r"slo\b.*") else slos)
    if config.reference.files:
        check_reference(findings, "reference", config.reference.files)
    for number, webhook in enumerate(config.webhooks):
        if not in_doubt(errors, rf"webhook\[{number}\].*"):
            check_secret(findings, webhook)


def in_doubt(errors: Sequence[ConfigError], pattern: str) -> bool:
    """Whether a key that matches, or a whole section, is wrong: what would be there is not known then."""
    return any(error.path is None or re.fullmatch(pattern, error.path) for error in errors)


def contents(config: Config) -> str:
    return f"{len(config.links)} links, {len(config.webhooks)} webhooks, {len(config.objectives)} objectives"


def check_secret(findings: Findings, webhook: Webhook) -> None:
    """What the alert role would say of it at its start."""
    from streams.webhooks import check_webhooks

    try:
        check_webhooks([webhook])
    except ConfigError as error:
        findings.mistakes.append(error)


def check_files(findings: Findings, files: Sequence[Path]) -> None:
    """By what they are; SLO files together, because they may refer to each other. A folder stands for what it holds."""
    slos: list[Path] = []
    for file in (file for given in files for file in (sorted(inside(given)) if given.is_dir() else [given])):
        if file.suffix == ".toml":
            check_config(findings, file, str(file))
        elif is_reference(file):
            check_reference(findings, str(file), [file])
        elif file.suffix in (".xml", ".csv"):
            check_definition(findings, file, None)
        elif file.suffix not in (".yaml", ".yml"):
            raise UsageError(f"{file}: neither .toml, .xml, .csv nor .yaml")
        elif is_elements(file):
            check_elements(findings, file)
        elif is_slo(file):
            slos.append(file)
        else:
            check_rules(findings, str(file), [file], None, None)
    if slos:
        check_slos(findings, ", ".join(map(str, slos)), slos, None)


def inside(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix in (".toml", ".xml", ".csv", ".yaml", ".yml")]
    if not found:
        raise UsageError(f"{folder}: holds no .toml, .xml, .csv or .yaml")
    return found


def is_slo(file: Path) -> bool:
    """Enough of a YAML file to see its apiVersion."""
    text = start_of(file)
    return "apiVersion" in text or "openslo" in text


def is_elements(file: Path) -> bool:
    """A list whose first entry has an `enterprise`."""
    lines = (line for line in start_of(file).splitlines() if line and not line.startswith(("#", "---")))
    return next(lines, "").lstrip("-{ ").startswith("enterprise")


def is_reference(file: Path) -> bool:
    """A CSV named after a table, or YAML whose first key is one."""
    from streams.reference import KEYS

    if file.suffix == ".csv":
        return file.stem.lower().startswith(tuple(KEYS))
    if file.suffix not in (".yaml", ".yml"):
        return False
    keys = (line.partition(":")[0] for line in start_of(file).splitlines() if line[:1].isalpha())
    return next(keys, None) in KEYS


def start_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(65_536)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def check_reference(findings: Findings, name: str, files: Sequence[Path]) -> None:
    from streams.reference import read_reference
    from streams.yamlfile import Mistakes

    mistakes = Mistakes()
    tables = read_reference(files, mistakes)
    findings.add(name, ", ".join(f"{len(rows)} {table}" for table, rows in tables.items()) or "nothing", mistakes.found())


def check_elements(findings: Findings, file: Path) -> None:
    from streams.elements import read_file
    from streams.yamlfile import Mistakes

    mistakes = Mistakes()
    known = read_file(file, mistakes)
    findings.add(str(file), f"{len(known)} enterprise elements", mistakes.found())


def check_definition(findings: Findings, file: Path, container: str | None) -> None:
    from streams import definitions

    definition, mistakes = definitions.examine(file, container)
    found = f"{len(definition.containers)} containers, {len(definition.parameters)} parameters" if definition else ""
    findings.add(str(file), found, mistakes)


def check_decoder(findings: Findings, link: Link) -> None:
    """What the worker would say of the link at its start, beyond the mistakes of the files that it names."""
    from streams.decode import open_decoder

    try:
        open_decoder(link)
    except DefinitionError:
        pass
    except ConfigError as error:
        findings.mistakes.append(error)


def check_slos(findings: Findings, name: str, files: Sequence[Path], webhooks: Sequence[str] | None) -> list[Slo] | None:
    """None if there are mistakes: what rules say of SLOs cannot be checked then."""
    from streams.slo import examine

    slos, mistakes = examine(files)
    policies = [policy for slo in slos for policy in slo.alerts]
    found = f"{len(slos)} SLOs" + (f", {len(policies)} alert policies" if policies else "")
    for policy in dict.fromkeys(policies):
        if not (policy.when_breaching or policy.when_resolved or policy.when_no_data):
            found += f"; the AlertPolicy '{policy.name}' tells nothing: no alertWhen... is true"
        elif webhooks is not None and policy.targets and not set(policy.targets) & set(webhooks):
            found += f"; '{policy.name}' tells all webhooks, for none of its targets {' '.join(policy.targets)} is one"
    findings.add(name, found, mistakes)
    return None if mistakes else slos


def check_rules(
    findings: Findings, name: str, files: Sequence[Path], webhooks: Sequence[str] | None, slos: Sequence[Slo] | None
) -> None:
    """Against the webhooks and SLOs that there are, where these are known; policies of SLOs are rules, too."""
    from streams.rules import examine_rules
    from streams.rules.names import examine_names

    rules, mistakes = examine_rules(files)
    mistakes += examine_names(rules, webhooks, slos)
    if files or mistakes:
        findings.add(name, f"{len(rules)} rules", mistakes)

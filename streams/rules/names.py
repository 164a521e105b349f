"""The rules of a configuration: what they name that is defined elsewhere, webhooks and SLOs, and what SLOs add to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from streams.errors import ConfigError, nearest
from streams.rules.definitions import load_rules
from streams.rules.polls import bind, concerned, policy_rules
from streams.rules.rule import Levels, Rule
from streams.slo import Slo

if TYPE_CHECKING:
    from streams.config import Config

__all__ = ["rules_of", "wrong_names"]


def rules_of(config: Config, slos: Sequence[Slo] = ()) -> list[Rule]:
    """The configured rules and those of the SLOs' alert policies. DefinitionError in a file; ConfigError where one names a
    webhook or an SLO that there is not."""
    rules = load_rules(config.alert.rules)
    webhooks = [webhook.name for webhook in config.webhooks]
    for rule, what, hint in wrong_names(rules, webhooks, slos):
        raise ConfigError(what, path=f"rule {rule.name}", hint=hint)
    bound = [*bind(rules, slos), *policy_rules(slos, webhooks)]
    names = Counter(rule.name for rule in bound)
    for rule in bound:
        if names[rule.name] > 1:
            raise ConfigError(f"a rule and an AlertPolicy are both called '{rule.name}'", hint="give the rule another name")
    return bound


def wrong_names(
    rules: Iterable[Rule], webhooks: Sequence[str] | None, slos: Sequence[Slo] | None
) -> Iterator[tuple[Rule, str, str]]:
    """(rule, what is wrong, hint) for every name that there is not; None: what there is is not known."""
    for rule in rules:
        for name in sorted(set(rule.webhooks or ()) - set(webhooks)) if webhooks is not None else ():
            yield rule, f"no [[webhook]] is named '{name}'", hint(name, webhooks or (), "configured are")
        poll = rule.poll
        # `*` is all there are, also if that is none.
        if slos is not None and isinstance(poll, Levels) and poll.slos != "*" and not concerned(poll, slos):
            is_credit = poll.what == "credit"
            known = [slo.name for slo in slos if slo.credit_tiers or not is_credit]
            what = "SLO with orbitrack/credit-tiers" if is_credit else "SLO"
            yield rule, f"no {what} is named '{poll.slos}'", hint(poll.slos, known, "[slo] files define")


def hint(name: str, known: Sequence[str], words: str) -> str:
    match = nearest(name, known)
    return f"did you mean '{match}'?" if match else f"{words}: {', '.join(known) or 'none'}"

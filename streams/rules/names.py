"""The rules of a configuration: what they name that is defined elsewhere, webhooks and SLOs, and what SLOs add to them.

    rules = rules_of(config, slos)                          # raises the first mistake
    mistakes = examine_names(rules, webhooks, slos)         # all of them, for `orbitrack check`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from streams.errors import DefinitionError, nearest
from streams.rules.definitions import load_rules
from streams.rules.polls import bind, concerned, policy_rules
from streams.rules.rule import Levels, Place, Rule
from streams.slo import Slo

if TYPE_CHECKING:
    from streams.config import Config

__all__ = ["examine_names", "rules_of"]


def rules_of(config: Config, slos: Sequence[Slo] = ()) -> list[Rule]:
    """The configured rules and those of the SLOs' alert policies. DefinitionError in a file, and where a rule names a webhook
    or an SLO that there is not."""
    rules = load_rules(config.alert.rules)
    webhooks = [webhook.name for webhook in config.webhooks]
    for mistake in examine_names(rules, webhooks, slos):
        raise mistake
    return [*bind(rules, slos), *policy_rules(slos, webhooks)]


def examine_names(rules: Sequence[Rule], webhooks: Sequence[str] | None, slos: Sequence[Slo] | None) -> list[DefinitionError]:
    """A mistake for every name that there is not, or twice. None: what there is is not known."""
    mistakes = [each for rule in rules for each in (*unknown_webhooks(rule, webhooks), *unknown_slos(rule, slos))]
    return mistakes if slos is None else [*mistakes, *double_names([*bind(rules, slos), *policy_rules(slos, ())])]


def unknown_webhooks(rule: Rule, webhooks: Sequence[str] | None) -> Iterator[DefinitionError]:
    for number, name in enumerate(rule.webhooks or ()):
        if webhooks is not None and name not in webhooks:
            what, hint = f"no [[webhook]] is named '{name}'", suggestion(name, webhooks, "configured are")
            yield mistake(rule, f"webhooks[{number}]", what, hint)


def unknown_slos(rule: Rule, slos: Sequence[Slo] | None) -> Iterator[DefinitionError]:
    poll = rule.poll
    # `*` is all there are, also if that is none.
    if slos is not None and isinstance(poll, Levels) and poll.slos != "*" and not concerned(poll, slos):
        is_credit = poll.what == "credit"
        known = [slo.name for slo in slos if slo.credit_tiers or not is_credit]
        kind = "SLO with orbitrack/credit-tiers" if is_credit else "SLO"
        yield mistake(rule, "slo", f"no {kind} is named '{poll.slos}'", suggestion(poll.slos, known, "[slo] files define"))


def double_names(rules: Iterable[Rule]) -> Iterator[DefinitionError]:
    """Rule files have no name twice, and an SLO no policy; but a rule may be called as a policy is, and one policy as what
    another one is when there is no data."""
    first: dict[str, Rule] = {}
    told: set[tuple[str, Place | None]] = set()
    for rule in rules:
        other, place = first.setdefault(rule.name, rule), rule.places.get("name")
        alertname = rule.alertname or rule.name
        if other is not rule and (alertname, place) not in told:
            told.add((alertname, place))
            where = f" at {place.file}:{place.line}" if place else ""
            hint = "give one of them another name"
            if "no_data" in (rule.kind, other.kind):
                hint += "; with alertWhenNoData a policy is a rule NAME-no-data, too"
            yield mistake(other, "name", f"the AlertPolicy{where} makes a rule '{alertname}', too", hint)


def mistake(rule: Rule, key: str, what: str, hint: str) -> DefinitionError:
    """Where the rule says so; a rule that is in no file is told by its name."""
    place = rule.places.get(key)
    if place is None:
        return DefinitionError(what, path=f"rule {rule.alertname or rule.name}", hint=hint)
    return DefinitionError(what, file=place.file, line=place.line, path=place.path, hint=hint)


def suggestion(name: str, known: Sequence[str], words: str) -> str:
    match = nearest(name, known)
    return f"did you mean '{match}'?" if match else f"{words}: {', '.join(known) or 'none'}"

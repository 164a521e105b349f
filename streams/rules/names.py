"""What rules name that is defined elsewhere: webhooks in the configuration, SLOs in their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from streams.errors import nearest
from streams.rules.polls import concerned
from streams.rules.rule import Levels, Rule
from streams.slo import Slo

__all__ = ["wrong_names"]


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

"""Half a minute of tests/simulation/collector_soak.py; ten are run by hand (docs/collector.md has what they said)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.collector_soak import Options, is_even, soak

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.mark.parametrize("spill", ["0B", "300MB"])
def test_everything_sent_is_stored_or_counted_while_the_broker_is_slow_and_away(tmp_path: Path, spill: str) -> None:
    found = soak(Options(seconds=15, exporters=1000, rate=5, spill=spill), tmp_path)
    assert is_even(found), found
    assert found["sent"] > 10_000

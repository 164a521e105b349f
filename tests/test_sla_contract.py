"""The named queries keep the names, parameters, defaults, keys and columns that contracts and scripts rest on.

Copied by hand from the catalogue that was agreed; a change here is a change of the contract. What they mean is compared in
tests/test_sla_queries.py.
"""

from __future__ import annotations

import pytest

from streams.clickhouse.queries import OPTIONAL, catalogue

# name: parameters beyond from and to, with their defaults | keys -> columns, in order; more columns may follow
CONTRACT = """
availability:         | entity -> service_minutes up_minutes down_minutes unknown_minutes maintenance_minutes \
                        availability_strict_pct availability_observed_pct
site_availability:    need=1 | site -> minutes up_minutes availability_pct
latency_percentiles:  metric=latency_ms | entity -> n p50 p95 p99 worst target meets good_ratio
loss:                 received=frames_rx lost=frames_lost | entity -> lost received loss_ratio worst_day worst_day_ratio
error_budget:         metric objective | entity -> total bad objective budget_events budget_consumed budget_remaining
burn_rate:            metric objective at | entity -> b5m b30m b1h b2h b6h b1d b3d page ticket
outages:              merge_minutes=1 min_seconds=60 | entity start -> end seconds down_minutes
mttr_mtbf:            merge_minutes=1 min_seconds=60 | entity -> failures mttr_minutes longest_minutes mtbf_hours
credits:              tiers=99.9:0,99:10,95:25,0:100 | entity -> customer availability_pct objective_pct credit_pct
worst:                metric n=3 period=week | period entity -> bad_ratio rank
completeness:         metric=up per_minute=6 | entity day -> received expected completeness_pct
pue:                  | site day -> facility_kwh it_kwh pue
thermal_excursions:   metric=temp_c limit=27 min_minutes=1 | entity -> excursions minutes_over longest_minutes peak \
                        degree_minutes
link_margin:          metric=snr_db | id -> spacecraft station samples min avg worst_margin_db seconds_below
contact_availability: metric=snr_db | station -> contacts missed planned_seconds tracked_seconds usable_seconds usable_pct \
                        success_pct
calendar_month:       month | entity -> hours service_minutes up_minutes down_minutes unknown_minutes \
                        availability_strict_pct availability_observed_pct
rolling_compliance:   metric days=7 | entity day -> ratio
silent_entities:      at minutes=3 metric=up | entity -> last_seen silent_seconds
interface_utilisation: | entity -> in_mean_pct in_p95_pct in_max_pct out_mean_pct out_p95_pct out_max_pct
billing_95th:         month | entity -> samples p95_in_bps p95_out_bps billable_bps
traffic:              by=src_as n=10 step=1h | step by -> bytes packets flows unknown_sampling_bytes
top_talkers:          n=10 by=src_addr,dst_addr | by -> bytes packets flows share_pct
data_loss:            | source reason -> lost unit first last
"""
LINES = CONTRACT.replace("\\\n", " ").strip().splitlines()
WITH_MAINTENANCE = ("availability", "calendar_month", "credits", "outages", "mttr_mtbf")


def test_catalogue_is_complete() -> None:
    assert {line.partition(":")[0] for line in LINES} == set(catalogue())
    assert len(LINES) == 23


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(":")[0])
def test_query_keeps_its_contract(line: str) -> None:
    name, _, rest = line.partition(":")
    parameters, _, answer = rest.partition("|")
    keys, _, columns = answer.partition("->")
    query = catalogue()[name]
    expected = dict.fromkeys(OPTIONAL) | {"zone": "UTC"} | {
        word.partition("=")[0]: word.partition("=")[2] or None for word in parameters.split()
    }
    if name in WITH_MAINTENANCE:
        expected["exclude"] = "planned"
    if "at" not in expected:
        expected |= {"from": None, "to": None}

    found = {parameter.name: parameter.default for parameter in query.parameters.values()}

    assert {key: value or None for key, value in found.items()} == expected
    assert list(query.keys) == keys.split()
    assert list(query.columns)[: len(columns.split())] == columns.split()

"""`orbitrack up --demo`: a simulated fleet, a webhook receiver, and a running commentary.

Nothing is played: the simulator sends datagrams and packets to the collectors' sockets, the counters are those of /metrics,
the report is what `orbitrack slo report` asks, and the receiver verifies the signature of every webhook that it shows.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from streams.clickhouse.client import connect
from streams.clickhouse.levels import service_levels
from streams.clock import NS, wall_clock_ns
from streams.errors import DependencyError
from streams.folders import make_folder
from streams.resources import schemas
from streams.simulate import Size
from streams.simulate.resume import read_kept
from streams.slo import Span, load
from streams.webhooks import receive_webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.embedded.up import Up
    from streams.slo import Line

__all__ = ["Demo", "write_config"]

COUNTERS_S = 5
FIRST_REPORT_S = 35            # the first whole minutes have closed and were rolled up by then
REPORT_S = 30
REPORT_LINES = 8
SEED = 1
NEW = Size(racks=20, satellites=3)
ROLES = ("collect", "worker", "store")


def write_config(data_dir: Path) -> Path:
    """The demo's configuration as a file of the user's own; one that is there is kept."""
    file = data_dir / "orbitrack.toml"
    if not file.exists():
        make_folder(data_dir)
        text = (schemas("demo") / "orbitrack.toml").read_text()
        file.write_text(text.replace('"../', f'"{Path(str(schemas("demo"))).parent}/'))
    return file


class Demo:
    """What happens beside the roles while they run."""

    def __init__(self, up: Up, say: Callable[[str], None]) -> None:
        self.up, self.say = up, say
        self.previous: Counter[str] = Counter()
        self.previous_at = time.monotonic()

    async def run(self) -> None:
        webhook = self.up.config.webhooks[0]
        address = urlsplit(webhook.url)
        assert webhook.secret is not None and address.hostname and address.port, "the demo's webhook is local and signed"
        receiver = await receive_webhooks(
            address.hostname, address.port, webhook.secret.reveal(), lambda line: self.say(f"webhook: {line}")
        )
        size, command = self.fleet()
        self.up.supervisor.add("simulate", command, self.up.environment("simulate"))
        await self.up.supervisor.start("simulate")
        senders = f"{size.racks} racks over UDP, {size.satellites} satellites over TCP"
        self.say(f"the fleet: {senders}, with loss, disorder and corruption")
        self.introduce()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.tell_counters())
                tasks.create_task(self.report())
        finally:
            await receiver.stop()

    def introduce(self) -> None:
        """Three commands to try next."""
        offset = self.up.options.port_offset
        program = "orbitrack" if shutil.which("orbitrack") else os.path.relpath(Path(sys.executable).parent / "orbitrack")
        dsn = f' --dsn "{self.up.config.database.dsn}"' if offset else ""
        self.say("now try, in a second terminal:")
        for command in (
            f'{program} sql{dsn} "SELECT entity, metric, cnt, vsum / cnt AS mean FROM v_10s ORDER BY bucket DESC LIMIT 10"',
            f"{program} slo report{dsn} --window 1h",
            f"curl http://{self.up.config.web.listen}/api/v1/alerts        # or open http://{self.up.config.web.listen}",
        ):
            self.say(f"    {command}")

    def fleet(self) -> tuple[Size, list[str]]:
        """The fleet of the last time on this data, as large as it was then, or a new one; and the command that sends it."""
        file = self.up.data_dir.absolute() / "simulate.json"
        command = [sys.executable, "-m", "streams.cli", "simulate", "--resume", str(file)]
        kept = read_kept(file)
        if kept is not None:
            return kept.size, command
        sizes = ["--racks", str(NEW.racks), "--satellites", str(NEW.satellites), "--seed", str(SEED)]
        return NEW, [*command, *sizes]

    async def tell_counters(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                await asyncio.sleep(COUNTERS_S)
                values: Counter[str] = Counter()
                for role in ROLES:
                    values.update(await self.scrape(session, role))
                self.tell(values)

    async def scrape(self, session: aiohttp.ClientSession, role: str) -> Counter[str]:
        """A role's metrics, summed over their labels; rejects by reason too. Empty while it is away."""
        values: Counter[str] = Counter()
        try:
            async with session.get(f"http://{self.up.config.metrics.listen[role]}/metrics") as answer:   # type: ignore[index]
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return values
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix("orbitrack_")
                values[f"{role}.{name}"] += sample.value  # type: ignore[assignment]
                for label in ("reason", "table"):
                    if label in sample.labels:
                        values[f"{role}.{name}.{sample.labels[label]}"] += sample.value  # type: ignore[assignment]
        return values

    def tell(self, values: Counter[str]) -> None:
        now = time.monotonic()
        frames = (values["worker.frames_total"] - self.previous["worker.frames_total"]) / (now - self.previous_at)
        self.previous, self.previous_at = values, now
        reasons = ", ".join(
            f"{name.rpartition('.')[2]} {count:,.0f}"
            for name, count in sorted(values.items())
            if name.startswith("worker.rejects_total.") and count
        )
        stored = ", ".join(
            f"{values[f'store.inserted_rows_total.{table}']:,.0f} {what}"
            for table, what in (("samples", "samples"), ("flows", "flows"), ("windows_10s", "windows"))
        )
        self.say(
            f"{frames:,.0f} frames/s; so far {values['worker.frames_total']:,.0f} frames, stored {stored}; "
            f"rejected: {reasons or 'nothing'}; "
            f"lag {values['worker.lag_records']:,.0f} records, watermark {values['worker.watermark_age_seconds']:.0f} s behind"
        )

    async def report(self) -> None:
        await asyncio.sleep(FIRST_REPORT_S)
        while True:
            try:
                lines = await asyncio.to_thread(self.levels)
            except DependencyError as error:
                self.say(f"no report: {error}")
            else:
                good = sum(line.state == "ok" for line in lines)
                self.say(f"service levels of the last 10 minutes: {good} of {len(lines)} ok; those with the least budget:")
                Console(width=120).print(table(lines))
            await asyncio.sleep(REPORT_S)

    def levels(self) -> list[Line]:
        config = self.up.config
        now_s = wall_clock_ns() // NS // 60 * 60 + 60       # the minute under way counts too: a demo is short
        span = Span(now_s - 600, now_s)
        with connect(config.database.dsn, **config.database.login) as client:
            return service_levels(client, [(slo, span) for slo in load(list(config.slo.files))])


def table(lines: list[Line]) -> Table:
    """The lines with the least budget, as `orbitrack slo report` shows them."""
    view = Table("objective", "entity", "target", "SLI", "budget left", "burn 1h", "state", box=None, header_style="bold")
    for line in sorted(lines, key=lambda each: (each.budget_remaining is None, each.budget_remaining or 0))[:REPORT_LINES]:
        view.add_row(
            line.slo, line.entity, percent(line.target), percent(line.sli), percent(line.budget_remaining),
            "-" if (rate := line.burn_rate.get("1h")) is None else f"{rate:.2f}", line.state,
        )
    return view


def percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"

"""What goes wrong in the made-up fleet, and when: seconds since its start, again every five minutes.

Racks and satellites are numbered from 1. An incident of a fleet too small to have its rack or satellite does not happen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.clock import NS
from streams.simulate.frames import Ints

__all__ = ["BATTERY_HOT", "BURST_LOSS", "PERIOD_NS", "PORT_DOWN", "PORT_ERRORS", "SILENCE", "Incident"]

PERIOD_NS = 300 * NS


@dataclass(frozen=True)
class Incident:
    unit: int                       # which rack or satellite
    begin_ns: int
    end_ns: int

    def is_on(self, since_start_ns: Ints) -> npt.NDArray[np.bool_]:
        phase = since_start_ns % PERIOD_NS
        return (phase >= self.begin_ns) & (phase < self.end_ns)

    def elapsed_ns(self, since_start_ns: Ints) -> Ints:
        """How long it has been on altogether, in all periods so far."""
        periods, phase = np.divmod(since_start_ns, PERIOD_NS)
        length_ns = self.end_ns - self.begin_ns
        elapsed_ns: Ints = periods * length_ns + np.clip(phase - self.begin_ns, 0, length_ns)
        return elapsed_ns


PORT_ERRORS = Incident(4, 10 * NS, 50 * NS)         # ifIndex 2: PORT_ERRORS_A_SECOND input errors
PORT_DOWN = Incident(6, 60 * NS, 80 * NS)           # ifIndex 1: down, no traffic
BURST_LOSS = Incident(2, 12 * NS, 20 * NS)          # BURST_LOSS_SHARE of the packets are lost
BATTERY_HOT = Incident(3, 25 * NS, 55 * NS)         # BATTERY_HOT_DEGC above
SILENCE = Incident(1, 100 * NS, 190 * NS)           # nothing is sent

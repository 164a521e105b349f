"""All decoders against other people's, in one run: the tables of bench_satellite.py and bench_rack.py, one after the other.

    python benchmarks/bench_decode.py

Each checks that both sides found the same before it shows a time, and lists its own biases.
"""

from __future__ import annotations

import sys

import bench_rack
import bench_satellite


def main() -> int:
    arguments, sys.argv[1:] = sys.argv[1:], []
    if arguments:
        print("bench_decode.py takes no options; bench_satellite.py and bench_rack.py do", file=sys.stderr)
        return 2
    return max(bench_satellite.main(), bench_rack.main())


if __name__ == "__main__":
    sys.exit(main())

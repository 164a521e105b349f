"""Runs a fuzzer with the core built for AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.fuzz.sanitized rack --seconds 60           any fuzzer of this folder, and its options

Builds a copy of ext/framecodec in a temporary folder with gcc and leaves the tree as it is. Memory that Python keeps is no
leak, so leaks are not looked for here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# The modules that a fuzzer imports itself; those that they need are found.
FUZZED = {
    "rack": {"sflow", "netflow", "messages", "priorities"},
    "frames": {"coding", "frames"},
    "packets": {"packets", "plan"},
    "definitions": {"plan", "timecodes"},
}
FLAGS = "-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize=alignment -O1 -g"


def library(name: str) -> str:
    return subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()


def needed(folder: Path, names: set[str]) -> set[str]:
    """Modules of `folder`, with all that they import from each other. Some have only a .pxd and are built into the others."""
    found: set[str] = set()
    while names - found:
        name = (names - found).pop()
        found.add(name)
        for path in folder.glob(f"{name}.p[xy]*"):
            names |= set(re.findall(r"^\s*from framecodec\.(\w+) c?import", path.read_text(), re.MULTILINE))
    return {name for name in found if (folder / f"{name}.pyx").exists()}


def main() -> int:
    fuzzer, *options = sys.argv[1:] or ["rack"]
    if fuzzer not in FUZZED:
        print(f"no fuzzer {fuzzer!r}; there are: {', '.join(FUZZED)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "framecodec"
        shutil.copytree(REPOSITORY / "ext" / "framecodec", copy, ignore=shutil.ignore_patterns("*.so", "*.c"))
        sources = [str(copy / f"{name}.pyx") for name in sorted(needed(copy, FUZZED[fuzzer]))]
        environment = os.environ | {"CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
        subprocess.run(
            [sys.executable, "-m", "Cython.Build.Cythonize", "-i", "-q", *sources], check=True, env=environment, cwd=folder
        )
        environment = os.environ | {
            "PYTHONPATH": f"{folder}:{REPOSITORY}",
            "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "PYTHONMALLOC": "malloc",
        }
        return subprocess.run([sys.executable, "-m", f"tests.fuzz.{fuzzer}", *options], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

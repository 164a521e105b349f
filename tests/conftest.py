"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def testdata(*parts: str) -> Path:
    """A file of the real captures ($ORBITRACK_TESTDATA, else ../shared/data); skips the test where they are absent."""
    root = Path(os.environ.get("ORBITRACK_TESTDATA") or REPOSITORY.parent / "shared" / "data")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real captures are absent: no {path} (set ORBITRACK_TESTDATA)")
    return path


testdata.__test__ = False  # type: ignore[attr-defined]  a helper, not a test

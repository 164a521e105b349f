"""Folders that we write into, made or refused with a sentence.

    make_folder(config.data_dir / "faust")

Knows nothing of what goes into them.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from streams.errors import ConfigError, DependencyError, OrbitrackError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["folder_error", "make_folder"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; one that is there stays as it is.

    ConfigError where there cannot be one or where we may not write; DependencyError where the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise folder_error(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise folder_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def folder_error(path: Path, error: OSError) -> OrbitrackError:
    """What to raise when something could not be written below `path`."""
    if error.errno in DISK_FULL:
        return DependencyError(f"{path} cannot be written: the disk is full", hint="make room, or choose another data_dir")
    in_the_way = next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None)
    if in_the_way is not None:
        return ConfigError(f"{path} cannot be a folder, {in_the_way} is a file", hint="choose another data_dir (--data-dir)")
    hint = "give this user the right to write there, or choose another data_dir (--data-dir)"
    return ConfigError(f"{path} cannot be written: {error.strerror}", hint=hint)

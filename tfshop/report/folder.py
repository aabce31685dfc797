"""Writing a report where it cannot destroy anything else."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from tfshop._folders import new_folder
from tfshop.errors import TfshopError


def write_folder(folder: str | os.PathLike[str], content: Mapping[str, bytes], known: Collection[str]) -> Path:
    """Write files beside the folder and put them in its place in one step.

    Args:
        folder: Where to; its parents are made.
        content: Bytes by file name.
        known: File names that an earlier call may have left; only a folder of such files is replaced.

    Returns:
        The folder.

    Raises:
        TfshopError: Where the folder holds anything else, and then nothing is touched.
    """
    target = Path(folder).absolute()
    check_replaceable(target, known)
    with new_folder(target) as fresh:
        for name, data in content.items():
            (fresh / name).write_bytes(data)
    return target


def check_replaceable(target: Path, known: Collection[str]) -> None:
    """Refuse to replace a file, or a folder with somebody else's files in it.

    Raises:
        TfshopError: For either.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise TfshopError(f"report folder '{target}', a file. Expected a folder. Fix: give another name.")
    strangers = sorted(entry.name for entry in target.iterdir() if entry.name not in known)
    if strangers:
        raise TfshopError(
            f"report folder '{target}', holds {len(strangers)} files that no report wrote (first: '{strangers[0]}'). "
            "Expected a new or empty folder, or that of an earlier report. Fix: give another folder, or move them away."
        )

"""Checkpoints on disk: a folder a step, complete or absent, the last two kept."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfshop._folders import new_folder
from tfshop.errors import DataError
from tfshop.training.weights import is_averaged, read_blocks, write

STATE = "state.json"
FORMAT = 1
KEPT = 2
FIELDS = ("epoch", "step", "best_epoch", "judge", "metrics", "fingerprint")
_STEP, _BEST = "step-", "best-"


def step_folders(place: Path) -> list[Path]:
    """Folders of checkpoints, the oldest first."""
    return sorted(path for path in place.glob(f"{_STEP}[0-9]*") if path.is_dir())


def step_folder(place: Path, step: int) -> Path:
    """Where the checkpoint after so many steps lies."""
    return place / f"{_STEP}{step:012d}"


def best_folder(place: Path, epoch: int) -> Path:
    """Where the weights of an epoch lie, numbered from 1."""
    return place / f"{_BEST}{epoch:06d}"


def write_folder(folder: Path, variables: Sequence[Any], state: Mapping[str, Any]) -> None:
    """Write variables and state beside, then rename: a kill leaves the whole folder or none."""
    with new_folder(folder) as fresh:
        files = [_write_array(fresh / f"{number:04d}.npy", variable) for number, variable in enumerate(variables)]
        content = {"format": FORMAT, "state": dict(state), "files": files}
        (fresh / STATE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_averaged(variables: Sequence[Any]) -> None:
    """Take part in reading the variables that need every worker, where another one writes them."""
    for variable in variables:
        if is_averaged(variable):
            variable.numpy()


def read_state(folder: Path) -> dict[str, Any]:
    """What was written beside the variables.

    Raises:
        DataError: Where it cannot be read, or lacks a field.
    """
    state = dict(_read_content(folder)["state"])
    missing = [field for field in FIELDS if field not in state]
    if missing:
        raise _damaged(folder / STATE, f"it has no {', '.join(missing)}")
    return state


def read_variables(folder: Path, variables: Sequence[Any]) -> None:
    """Give variables the values in a folder; all of them are checked before the first is changed.

    Raises:
        DataError: Where a file is missing, cut off or altered, or there are other variables than these.
    """
    files = _read_content(folder)["files"]
    found = [(tuple(entry["shape"]), entry["dtype"]) for entry in files]
    expected = [(tuple(variable.shape), variable.dtype.name) for variable in variables]
    if found != expected:
        raise DataError(
            f"{folder} holds {len(found)} variables, and the model and its optimizer have {len(expected)}, or others. "
            "Expected the same shapes. Fix: another checkpoint folder, or resume=False to begin anew."
        )
    arrays = [_checked_array(folder, entry) for entry in files]
    for variable, array in zip(variables, arrays, strict=True):
        write(variable, array)


def tidy(place: Path) -> None:
    """Remove all but the last checkpoints, best weights that none of them names, and what a kill left behind."""
    folders = step_folders(place)
    for folder in folders[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
    named = {read_state(folder)["best_epoch"] for folder in folders[-KEPT:]}
    for folder in place.glob(f"{_BEST}[0-9]*"):
        if int(folder.name.removeprefix(_BEST)) not in named:
            shutil.rmtree(folder, ignore_errors=True)


def clear_unfinished(place: Path) -> None:
    """Remove what a kill left while it was being written."""
    for pattern in (f".{_STEP}*", f".{_BEST}*"):
        for folder in place.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def clear(place: Path) -> None:
    """Remove every checkpoint."""
    clear_unfinished(place)
    for pattern in (f"{_STEP}[0-9]*", f"{_BEST}[0-9]*"):
        for folder in place.glob(pattern):
            shutil.rmtree(folder)


def _write_array(path: Path, variable: Any) -> dict[str, Any]:
    """Write block after block in numpy's own format."""
    shape, dtype = tuple(variable.shape), np.dtype(variable.dtype.as_numpy_dtype)
    check = 0
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in read_blocks(variable):
            content = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
            check = zlib.crc32(content, check)
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"file": path.name, "shape": list(shape), "dtype": variable.dtype.name, "crc32": check}


def _checked_array(folder: Path, entry: Mapping[str, Any]) -> Any:
    path = folder / str(entry["file"])
    try:
        array = np.load(path, mmap_mode="r" if entry["shape"] else None, allow_pickle=False)
        matches = list(array.shape) == entry["shape"] and _check(array) == entry["crc32"]
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    if not matches:
        raise _damaged(path, "its content is not what was written")
    return array


def _check(array: Any) -> int:
    """CRC-32 of the values, a run of bytes at a time."""
    content = array.reshape(-1).view(np.uint8)
    check = 0
    for start in range(0, content.size, 1 << 26):
        check = zlib.crc32(content[start : start + (1 << 26)].data, check)
    return check


def _read_content(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or not isinstance(content["state"], dict):
            raise _damaged(path, f"it has the format {content['format']}, not {FORMAT}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    return dict(content)


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"checkpoint file {path} is damaged: {reason}. Expected it as it was written. "
        f"Fix: remove the folder {path.parent.name} to go on from the checkpoint before it, or pass resume=False."
    )

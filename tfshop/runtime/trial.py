"""A file run once in a process of its own: LiteRT aborts on some instead of raising.

Run by `run_apart`: `python -m tfshop.runtime.trial FILE ROWS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.runtime.scorer import Scorer

LAST_WORDS = 3
PREFIX = "input "  # an input may be called "file", as an argument of NumPy's is


def run_apart(content: bytes, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Score rows in another process, for whether it can be done.

    Args:
        content: Bytes of a `.tflite`.
        inputs: Arrays (rows, …) by name.

    Raises:
        RuntimeError: Where LiteRT aborts or refuses; with the last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, rows = Path(folder) / "model.tflite", Path(folder) / "rows.npz"
        file.write_bytes(content)
        named: dict[str, Any] = {PREFIX + name: values for name, values in inputs.items()}
        np.savez(rows, **named)
        done = subprocess.run(  # noqa: S603 - this very module, on files of ours
            [sys.executable, "-m", __name__, str(file), str(rows)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    if done.returncode:
        how = f"aborted with signal {-done.returncode}" if done.returncode < 0 else "failed"
        words = [line for line in done.stderr.splitlines() if line.strip()][-LAST_WORDS:]
        raise RuntimeError(f"error: LiteRT {how} when it ran the file: {' / '.join(words)}")


def _read(path: str) -> dict[str, NDArray[Any]]:
    with np.load(path) as rows:
        return {name.removeprefix(PREFIX): values for name, values in rows.items()}


if __name__ == "__main__":
    Scorer(sys.argv[1])(_read(sys.argv[2]))

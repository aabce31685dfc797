"""The int16x8 conversion in a process of its own, which runs the file once: LiteRT aborts on some instead of raising.

Run by `whole_way`: `python -m tfshop.export.apart SAVED_MODEL CALIBRATION RESULT`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfshop._keras import tf
from tfshop.export.settings import Batches
from tfshop.runtime.scorer import Scorer

LAST_WORDS = 3
PREFIX = "input "  # an input may be called "file", as an argument of NumPy's is


def int16x8_apart(saved_model: str, calibration: Batches) -> bytes:
    """Weights in int8, activations in int16.

    Args:
        saved_model: Folder of a SavedModel with one signature.
        calibration: Batches of inputs by name.

    Raises:
        RuntimeError: Where the converter fails, or LiteRT aborts when it runs the file; with the last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        batches, result = Path(folder) / "batches", Path(folder) / "model.tflite"
        batches.mkdir()
        for number, batch in enumerate(calibration()):
            named: dict[str, Any] = {PREFIX + name: values for name, values in batch.items()}
            np.savez(batches / f"{number:06d}.npz", **named)
        done = subprocess.run(  # noqa: S603 - this very module, on files of ours
            [sys.executable, "-m", __name__, saved_model, str(batches), str(result)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        if done.returncode:
            how = f"or LiteRT aborted with signal {-done.returncode}" if done.returncode < 0 else "failed"
            words = [line for line in done.stderr.splitlines() if line.strip()][-LAST_WORDS:]
            raise RuntimeError(f"error: the int16x8 converter {how}: {' / '.join(words)}")
        return result.read_bytes()


def _convert(saved_model: str, batches: Path) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _read(batches)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    return bytes(converter.convert())


def _read(batches: Path) -> Iterator[Mapping[str, np.ndarray]]:
    for path in sorted(batches.glob("*.npz")):
        with np.load(path) as batch:
            yield {name.removeprefix(PREFIX): values for name, values in batch.items()}


if __name__ == "__main__":
    made = _convert(sys.argv[1], Path(sys.argv[2]))
    Scorer(made)(next(_read(Path(sys.argv[2]))))
    Path(sys.argv[3]).write_bytes(made)

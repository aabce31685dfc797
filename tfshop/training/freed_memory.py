"""Memory that a training step frees is kept for the next one, where the system would have it back."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Any

from tfshop._keras import keras

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # as malloc.h numbers them
KEPT = {MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 1 << 30, TOP_PAD: 64 << 20}  # bytes
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell glibc's allocator to keep what is freed, for the rest of the process.

    A step of a wide network frees tens of megabytes. Under Python 3.11 a `tf.data` generator tells glibc to give every
    piece over 128 kB back to the system (TensorFlow's `ApplyPython311MemoryPatch`), which clears its pages anew at the
    next step: a third of the processors' time where pages are small. The process keeps about a tenth more memory.

    Args:
        environment: Nothing is done where it has a setting of the allocator.

    Returns:
        Whether glibc was told: not outside of Linux, nor where the C library is another one.

    Example:
        >>> keep_freed_memory({"MALLOC_TOP_PAD_": "0"})
        False
    """
    if any(name in environment for name in CHOSEN) or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    told = [] if mallopt is None else [mallopt(name, value) for name, value in KEPT.items()]
    return bool(told) and all(told)


class FreedMemoryKeeper(keras.callbacks.Callback):
    """Calls `keep_freed_memory` once the generator of the batches is there, which has a say too."""

    def __init__(self) -> None:
        super().__init__()
        self._is_told = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After the first steps."""
        if not self._is_told:
            self._is_told = True
            keep_freed_memory()

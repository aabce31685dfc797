"""Memory that a training step frees is kept for the next one, where the system would have it back."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Any

from tfshop._keras import keras

MMAP_THRESHOLD = -3  # as malloc.h numbers it
LARGEST = 32 << 20  # bytes; as far as glibc moves it by itself
CHOSEN = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let glibc keep freed pieces of up to 32 MB for whoever asks next, for the rest of the process.

    A step of a wide network frees tens of megabytes. Under Python 3.11 a `tf.data` generator has glibc give every piece
    over 128 kB back to the system (TensorFlow's `ApplyPython311MemoryPatch`), whose pages are cleared anew at the next
    step: a third of the processors' time where pages are small. 32 MB is what glibc comes to without that patch.

    Args:
        environment: Nothing is done where it has this setting of the allocator.

    Returns:
        Whether glibc was told: not outside of Linux, nor where the C library is another one.

    Example:
        >>> keep_freed_memory({"MALLOC_MMAP_THRESHOLD_": "131072"})
        False
    """
    if any(name in environment for name in CHOSEN) or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST))


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

"""What a training tells the allocator."""

from __future__ import annotations

import ctypes
import platform

import pytest

from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.training import train
from tfshop.training.freed_memory import CHOSEN, MMAP_THRESHOLD, keep_freed_memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
A_PIECE, PIECES = 600_000, 2000
TENSORFLOWS = 128 << 10  # what its generators tell glibc under Python 3.11


class _Numbers(ctypes.Structure):
    """As malloc.h has them."""

    _fields_ = tuple((name, ctypes.c_int) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd"))
    _fields_ += tuple((name, ctypes.c_int) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"))


def _comes_from_the_system() -> bool:
    """Whether pieces are mapped by themselves; so many that not all find a hole that was left before."""
    library = ctypes.CDLL(None)
    library.mallinfo.restype = _Numbers
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = library.mallinfo().hblks
    pieces = [library.malloc(A_PIECE) for _ in range(PIECES)]
    after = library.mallinfo().hblks
    for piece in pieces:
        library.free(piece)
    library.malloc_trim(0)
    return bool(after > before)


@pytest.mark.parametrize("name", CHOSEN)
def test_settings_of_the_user_stand(name: str) -> None:
    assert keep_freed_memory({name: ""}) is False


@needs_glibc
def test_a_training_keeps_what_it_frees(clicks: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, TENSORFLOWS)
    assert _comes_from_the_system()
    assert keep_freed_memory({}) and not _comes_from_the_system()
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, TENSORFLOWS)
    train(build_model("mlp", clicks.schema, dimension=4, hidden=(8,), seed=0), clicks, epochs=1)
    assert not _comes_from_the_system()

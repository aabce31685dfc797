"""Peak memory of this process; a module of its own, so that a phase can measure itself without TensorFlow."""

from __future__ import annotations

from pathlib import Path


def begin_peak_anew() -> None:
    """Forget the process's high-water mark of memory; Linux alone."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """Most resident memory of this program alone: `getrusage` would begin with the peak of the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

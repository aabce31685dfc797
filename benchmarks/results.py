"""What the benchmarks share: the table on the terminal, the JSON beside it, and an interval over seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student_t

import tfshop
from tfshop.artifact import installed_versions
from tfshop.runtime.latency import cpu_name

FOLDER = Path(__file__).parent / "results"
VECTORS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")
WIDTH = 170  # a redirected table is not folded to 80 columns


def show(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, note: str = "", numbers: bool = True
) -> None:
    """Print a table: names on the left, numbers on the right."""
    table = Table(title=title, caption=note, title_justify="left", caption_justify="left")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position and numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=max(console.width, WIDTH) if not console.is_terminal else None).print(table)


def save(name: str, content: dict[str, Any]) -> Path:
    """Write a result with the machine and the versions it was measured on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, beside = FOLDER / f"{name}.json", FOLDER / f"{name}.json.tmp"
    beside.write_text(json.dumps({**made_on(), **content}, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)  # a kill while it is written leaves what was there
    return path


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a few runs and the t-interval of it; without a width where there is one run only.

    Example:
        >>> mean_interval([1.0, 2.0, 3.0])[0]
        2.0
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(student_t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: names in code on the left, numbers on the right."""
    lines = [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    lines += [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows]
    return "\n".join(lines)


def write_between(path: Path, name: str, text: str) -> None:
    """Replace what stands between the two comments of that name on a page."""
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} has no comments {begin} and {end}. Expected both. Fix: put them around the table.")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def digest(*parts: Any) -> str:
    """Of plain data: another one where any of it is another."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def made_on() -> dict[str, Any]:
    """The machine and the versions that results are of."""
    return {"cpu": cpu_name(), "vectors": _vectors(), "versions": dict(installed_versions())}


def _vectors() -> list[str]:
    """What the processor multiplies with: two that have the same name may differ in it."""
    cpu = Path("/proc/cpuinfo")
    known = set(cpu.read_text(encoding="utf-8", errors="replace").split()) if cpu.exists() else set()
    return [name for name in VECTORS if name in known]


def code_digest(*rooms: str) -> str:
    """Changes when a file of these rooms of the package does, or one of these files of it.

    What was measured before is then not that of today.
    """
    digest = hashlib.sha256()
    for room in rooms:
        place = Path(tfshop.__file__).parent / room
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

"""Trials that are done, written one by one, so that a killed run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tfshop._console import say
from tfshop._folders import require_replaceable
from tfshop.evaluation.trial import Trial

JOURNAL = "trials.jsonl"


class Journal:
    """A file of trials, one a line, behind a line that says of which weights and rows.

    Of another network, other weights or other rows, it is begun anew.

    Args:
        folder: Made where it is not there; None keeps nothing.
        fingerprint: Of weights and rows.

    Raises:
        TfshopError: For a folder of somebody else's.
    """

    def __init__(self, folder: Path | None, fingerprint: Mapping[str, str]) -> None:
        self.done: dict[tuple[str, str, float], Trial] = {}
        self._path = None if folder is None else folder / JOURNAL
        if folder is None or self._path is None:
            return
        require_replaceable(folder, JOURNAL)
        folder.mkdir(parents=True, exist_ok=True)
        head = json.dumps({"fingerprint": dict(fingerprint)}, sort_keys=True)
        lines = _whole_lines(self._path)
        if lines[:1] == [head]:
            trials = [Trial.from_dict(json.loads(line)) for line in lines[1:]]
            self.done = {trial.key: trial for trial in trials}
        elif lines:
            say(f"{self._path} is of other weights or rows: beginning anew")
        kept = [head, *(json.dumps(trial.to_dict()) for trial in self.done.values())]
        self._path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, trial: Trial) -> None:
        """Keep a trial; it is on disk when this returns, as far as the system says."""
        self.done[trial.key] = trial
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(trial.to_dict()) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """Lines that were written to their end: a kill may have left half of one."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()

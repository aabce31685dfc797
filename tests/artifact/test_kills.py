"""A kill during a save leaves the old artifact or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import KILLED_AT

from tfshop.artifact import Artifact

# Each kill happens in a fork, at the n-th time the save asks the system for something.
KILLED_SAVES = """
import sys
from tfshop.artifact import Artifact
place, one, other = sys.argv[1], Artifact.load(sys.argv[2]), Artifact.load(sys.argv[3])
sizes = {len(one.model_bytes): "old", len(other.model_bytes): "new"}

one.save(place)
number, killed = 0, True
while killed:
    number += 1
    killed = killed_at(number, lambda: other.save(place))
    state = sizes[len(Artifact.load(place).model_bytes)]
    print(state, flush=True)
    if state == "new":
        one.save(place)
"""


# For each line it is given, a child that says its number and saves until it is killed, then how that child ended.
ENDLESS_SAVES = """
import os, sys
from tfshop.artifact import Artifact
one, other = Artifact.load(sys.argv[2]), Artifact.load(sys.argv[3])
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        while True:
            for artifact in (one, other):
                artifact.save(sys.argv[1])
                print("saved", flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere two names cannot be exchanged in one step")
def test_a_kill_at_any_moment_of_a_save_leaves_the_old_or_the_new(
    artifact: Artifact, other: Artifact, tmp_path: Path
) -> None:
    folders = [str(tmp_path / "mine"), str(artifact.save(tmp_path / "one")), str(other.save(tmp_path / "other"))]
    answer = subprocess.run(
        [sys.executable, "-c", KILLED_AT + KILLED_SAVES, *folders], capture_output=True, text=True, check=True
    )
    states = answer.stdout.split()
    assert len(states) > 30 and set(states) == {"old", "new"}
    assert states == sorted(states, reverse=True), "old up to one moment, new from then on"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere two names cannot be exchanged in one step")
def test_a_kill_from_outside_leaves_the_old_or_the_new(artifact: Artifact, other: Artifact, tmp_path: Path) -> None:
    folders = [str(tmp_path / "mine"), str(artifact.save(tmp_path / "one")), str(other.save(tmp_path / "other"))]
    command = [sys.executable, "-c", ENDLESS_SAVES, *folders]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            for saves in (1, 4, 9):
                process.stdin.write("save\n")
                child = int(process.stdout.readline())
                assert [process.stdout.readline() for _ in range(saves)] == ["saved\n"] * saves
                os.kill(child, signal.SIGKILL)  # the next save is under way
                assert next(line for line in process.stdout if line != "saved\n") == f"{-signal.SIGKILL}\n"
                assert Artifact.load(tmp_path / "mine").model_bytes in {artifact.model_bytes, other.model_bytes}
        finally:
            process.kill()  # a child that is left ends with the pipe

"""A kill costs little, and two processes share the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from data.shards.conftest import BY_DAY, SCHEMA, assert_same, receipts
from tfshop.data import prepare

CHILD = """
import os, signal, sys
from tests.data.shards import conftest as this
from tfshop.data import encoding, preparation, prepare
encoding.ROWS_PER_SHARD, encoding.ROWS_PER_BATCH = this.SHARD, 128
path, cache, die_after, gate = sys.argv[1:]
finish, shards = preparation.ShardFolder.finish, []
def watched(self, shard, *arguments):
    finish(self, shard, *arguments)
    shards.append(shard)
    if len(shards) == int(die_after):
        os.kill(os.getpid(), signal.SIGKILL)
    if gate and len(shards) == 1:
        print("first shard", flush=True)
        open(gate).close()  # a pipe: waits until somebody opens the other end
preparation.ShardFolder.finish = watched
data = prepare(path, this.SCHEMA, split=this.BY_DAY, cache_dir=cache)
print(len(shards), data.train.num_rows)
"""


def child(path: Path, cache: Path, die_after: int = 0, gate: str = "") -> subprocess.Popen[str]:
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(cache), str(die_after), gate],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_kill_costs_only_the_shards_that_were_not_finished(path, cache, encoded):
    process = child(path, cache, die_after=2)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    finished = receipts(cache)
    assert len(finished) == 2
    again = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert len(encoded) == 3
    assert {name: when for name, when in receipts(cache).items() if name in finished} == finished
    assert_same(again, prepare(path, SCHEMA, split=BY_DAY))


def test_of_two_processes_at_once_the_second_waits_and_takes_what_the_first_made(path, cache, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = child(path, cache, gate=str(gate))
    assert first.stdout.readline() == "first shard\n"
    second = child(path, cache)
    said = second.stderr.readline()
    gate.open("w").close()
    answers = [process.communicate(timeout=100) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], answers
    assert said.startswith("waiting for another process")
    assert [out.split()[0] for out, _ in answers] == ["5", "0"]
    assert_same(prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache), prepare(path, SCHEMA, split=BY_DAY))

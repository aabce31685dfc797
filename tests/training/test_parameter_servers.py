"""A table too large for one host can lie on several: the lazy optimizer works on its shards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfshop
from training import parameter_servers
from training.test_distribution import free_addresses


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the coordinator saw."""
    path, script = tmp_path_factory.mktemp("servers") / "found.json", parameter_servers.__file__
    ports = free_addresses(4).split(",")
    jobs = json.dumps({"ps": ports[:2], "worker": [ports[2]], "chief": [ports[3]]})
    paths = os.pathsep.join([str(Path(tfshop.__file__).parents[1]), str(Path(script).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, script, jobs, str(path)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stderr
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_table_and_moments_lie_on_both_servers(found: dict[str, Any]) -> None:
    assert len(found["servers"]) == 3
    for devices in found["servers"]:
        assert ["/task:0/" in devices[0], "/task:1/" in devices[1]] == [True, True]


def test_only_rows_that_occurred_are_changed(found: dict[str, Any]) -> None:
    assert found["changed"] == found["used"]
    assert 300 < len(found["used"]) < found["num_rows"] - 300


def test_the_loss_falls(found: dict[str, Any]) -> None:
    assert np.mean(found["losses"][-4:]) < np.mean(found["losses"][:4]) - 0.1

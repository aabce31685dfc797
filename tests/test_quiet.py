"""What C++ libraries print about themselves."""

from __future__ import annotations

import os

import pytest

from tfshop._quiet import quiet


def test_what_is_written_within_is_lost_and_what_comes_after_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"a library on itself")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_a_block_may_stand_in_another(capfd: pytest.CaptureFixture[str]) -> None:
    """A calibration that reads a file of ours is called by the converter, which is quiet already."""
    with quiet():
        with quiet():
            os.write(1, b"within")
        os.write(1, b"still within")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_on_an_error_it_is_shown_after_all(capfd: pytest.CaptureFixture[str]) -> None:
    def abort() -> None:
        os.write(2, b"the reason")
        raise RuntimeError("aborted")

    with pytest.raises(RuntimeError, match="aborted"), quiet():
        abort()
    assert capfd.readouterr().err == "the reason"

"""Options that commands share are declared once, and mean the same in each."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer
from typer.main import get_command

from tfshop.cli.app import app
from tfshop.cli.options import Learning, source_of

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]  # a group


@pytest.mark.parametrize("command", ["train", "compress", "sensitivity"])
def test_a_command_that_learns_has_every_shared_option_with_its_default(command: str) -> None:
    found = {parameter.name: parameter.default for parameter in COMMANDS[command].params}
    assert {one.name: found[one.name] for one in fields(Learning)} == {
        one.name: one.default for one in fields(Learning)
    }
    assert "learning" not in found and {"table", "target", "out", "as_json"} <= set(found)


def test_names_and_numbers_separated_by_commas_are_taken_apart() -> None:
    learning = Learning(ids="item, shop,", hidden="32,16", parameter=["day=2024-01-31", "a=b=c"], missing=["N/A"])
    task = learning.task("log.csv", ["clicked, bought", "kept"], fit=False)
    assert task.target == ("clicked", "bought", "kept") and task.ids == ("item", "shop") and task.hidden == (32, 16)
    assert task.source.parameters == (("day", "2024-01-31"), ("a", "b=c")) and task.source.missing == ("N/A",)
    assert not task.fit and Learning().task("log.csv", ["y"]).fit and task.epochs == 10


def test_text_of_another_form_is_wrong_usage() -> None:
    with pytest.raises(typer.BadParameter, match=r"--hidden is '32;16'\. Expected whole numbers separated by commas"):
        Learning(hidden="32;16").task("log.csv", ["y"])
    with pytest.raises(typer.BadParameter, match=r"--parameter is 'day'\. Expected NAME=VALUE"):
        source_of("log.csv", None, ["day"], None, None, None)

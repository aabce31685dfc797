"""Options for tables as shops have them."""

from __future__ import annotations

import pytest
from helpers import exit_code

from cli.test_commands import SMALL, planted_table
from tfshop.cli.task import schema_of_training
from tfshop.data import IdFeature, NumericFeature


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A CSV of 1,000 rows, 40 of them twice, 'N/A' among the prices, and an integer that is an id."""
    path = tmp_path_factory.mktemp("dirty") / "log.csv"
    table = planted_table(1000)
    table.insert(0, "event", range(1000))
    table.insert(1, "aisle_number", table["item"].str.removeprefix("sku-").astype(int) * 7)
    table["price"] = table["price"].astype(str).where(table.index % 100 != 3, "N/A")
    lines = table.to_csv(index=False).splitlines()
    path.write_text("\n".join([*lines, *lines[1:41]]) + "\n")
    return path


def test_duplicates_missing_texts_ids_and_numbers_are_asked_for(log, tmp_path, capfd):
    wished = ["--missing", "N/A", "--ids", "aisle_number", "--numeric", "price", "--exclude", "event"]
    assert exit_code(["train", str(log), *SMALL, *wished, "--drop-duplicates", "--out", str(tmp_path / "model")]) == 0
    assert "40 of 1,040 rows repeat an earlier one and are dropped" in capfd.readouterr().err
    features = schema_of_training(tmp_path / "model").features
    assert IdFeature("aisle_number") in features and {"item", "price"} < {feature.name for feature in features}
    assert isinstance(next(feature for feature in features if feature.name == "price"), NumericFeature)


def test_duplicates_are_counted_and_kept_unasked(log, tmp_path, capfd):
    assert exit_code(["train", str(log), *SMALL, "--out", str(tmp_path / "model")]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "40 of 1,040 rows repeat an earlier one and are kept" in said
    assert "10 of 1,000 are no numbers, such as 'N/A'" not in said  # 40 rows more, one of them 'N/A'
    assert "of 1,040 are no numbers, such as 'N/A'" in said


@pytest.mark.parametrize("wished", [["--ids", "price", "--numeric", "price"], ["--ids", "no"], ["--time", "bought"]])
def test_contradictions_exit_with_2(log, tmp_path, capsys, wished):
    assert exit_code(["train", str(log), *SMALL, *wished, "--out", str(tmp_path / "model")]) == 2
    assert "Fix:" in capsys.readouterr().err

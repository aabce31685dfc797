"""A file is the stock converter's to the byte, though its network is not loaded again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfshop._keras import tf
from tfshop.compression import Candidate, EncodeTables
from tfshop.data import Splits
from tfshop.export import Export, convert, saved_model
from tfshop.export.saved_model import converter_of, saved
from tfshop.export.stock import CONVERTERS
from tfshop.tables import Int8

STOCK = tf.lite.TFLiteConverter


def ranges_recorded(converter: Any, model: Any, data: Splits) -> bytes:
    """The calibrated float graph, which the integer modes begin with."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = Export("int8", calibration_rows=64).calibration(model, data, seed=0)
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


@pytest.mark.parametrize("network", ["mlp", "dcn"])
def test_files_are_those_of_the_stock_converter(network: str, trained: Callable[[str], Any], clicks: Splits) -> None:
    model = trained(network)
    with saved(model) as folder:
        made = [converter_of(model, folder) for _ in range(4)]
        stock = [STOCK.from_saved_model(folder) for _ in range(4)]
        for written, ours, theirs in zip(CONVERTERS.values(), made, stock, strict=False):
            assert written(ours) == written(theirs)
        assert ranges_recorded(made[-1], model, clicks) == ranges_recorded(stock[-1], model, clicks)


def test_the_network_is_not_loaded_again(trained_mlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(saved_model.lite, "_load", load)
    with saved(trained_mlp) as folder:
        assert converter_of(trained_mlp, folder).convert()
        with pytest.raises(AssertionError, match="loaded"):
            STOCK.from_saved_model(folder)


def test_the_stock_converter_stands_in_where_a_part_of_it_is_missing(
    trained_mlp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with saved(trained_mlp) as folder:
        ours = converter_of(trained_mlp, folder).convert()
        monkeypatch.setattr(saved_model, "_ASKED", ("_of_another_version",))
        converter = converter_of(trained_mlp, folder)
        assert type(converter) is type(STOCK.from_saved_model(folder)) and converter.convert() == ours


@pytest.mark.parametrize("mode", ["float16", "dynamic"])
def test_a_network_with_coded_tables_is_saved_once(
    mode: str, trained_mlp: Any, clicks: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lookups come from a float32 file beside that of the mode."""
    model = EncodeTables(Int8()).apply(Candidate(trained_mlp, clicks.schema), clicks, 0).model
    saves, save = [], tf.saved_model.save

    def counted(*given: Any, **settings: Any) -> None:
        saves.append(given)
        save(*given, **settings)

    monkeypatch.setattr(tf.saved_model, "save", counted)
    assert convert(model, mode) and len(saves) == 1

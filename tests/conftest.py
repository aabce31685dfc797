"""What the tests of every room share: planted click logs, and three small networks trained on one of them."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from helpers import leave_graphs_as_traced

from tfshop.data import IdFeature, NumericFeature, Schema, SequenceFeature, Splits, TimeSplit, VectorFeature, prepare
from tfshop.data.datasets.synthetic import synthetic, synthetic_table
from tfshop.data.opening import read_table

SIZES = {"num_id_features": 3, "rows_per_feature": 100, "num_numeric": 2, "history": 5, "seed": 3}
SMALL = {"dimension": 8, "hidden": (64, 32)}
BY_DAY = TimeSplit("day", validation=8, test=9)
VECTOR_WIDTH = 6
TOGETHER = ("tests/foreign/", "tests/models/conformance/")  # the files of each share networks that take long to make
FIRST = (  # few tests that take long: begun last, as the fewest are, they would keep one worker waiting for the other
    "tests/compression/test_qat_any_graph.py",
    "tests/compression/units/test_random_graphs.py",
    "tests/artifact/test_kills.py",
    "tests/test_notebooks.py",
    "tests/test_whole_way.py",
    "tests/training/test_parameter_servers.py",
)

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # of each worker, and of processes that tests start


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, folders of files that share networks run on one worker too, and long tests first."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))

        def _assign_work_unit(self, node: Any) -> None:
            for file in FIRST:
                if file in self.workqueue:
                    self.workqueue.move_to_end(file, last=False)
            super()._assign_work_unit(node)

    return Together(config, log)


@pytest.fixture(scope="session", autouse=True)
def rare_garbage_collection() -> Iterator[None]:
    """Tracing makes objects by the million; looking through all of them each time is a fifth of the suite's time."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    yield
    gc.unfreeze()
    gc.set_threshold(*usual)


@pytest.fixture(scope="session", autouse=True)
def graphs_as_traced() -> None:
    """A test runs a graph a few times: to optimize it first would be a quarter of the suite's time.

    Processes that tests start, notebooks among them, optimize theirs as those of users do.
    """
    if "tensorflow" in sys.modules:
        leave_graphs_as_traced()


@pytest.fixture(scope="session", autouse=True)
def brief_timing() -> Iterator[None]:
    """`compress` measures latency for a moment only: in tests it has to be there, not to be exact."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfshop.measuring.SECONDS_A_BATCH_SIZE", 0.02)
        yield


@pytest.fixture
def one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have one picture: for tests that ask for something else."""
    from tfshop.report import pictures

    monkeypatch.setattr(pictures, "PICTURES", dict([*pictures.PICTURES.items()][:1]))


@pytest.fixture(scope="session")
def clicks() -> Splits:
    """Synthetic: three id columns, two numerics with holes, a history that shares the table of `id_0`."""
    return synthetic(6000, batch_size=256, **SIZES)


@pytest.fixture(scope="session")
def brief(clicks: Splits) -> Splits:
    """The same with four steps an epoch."""
    return replace(clicks, train=clicks.train.take(1024))


@pytest.fixture(scope="session")
def dense_clicks() -> Splits:
    """Synthetic: three id columns, nothing missing, so that every export mode can serve it."""
    return synthetic(4000, batch_size=256, num_id_features=3, rows_per_feature=100, num_numeric=0, seed=5)


@pytest.fixture(scope="session")
def kinds() -> dict[str, Splits]:
    """The same synthetic rows seen through different features: ids, numerics, every kind, and with two targets."""
    rows = pa.Table.from_batches(list(synthetic_table(2000, **SIZES).batches("SELECT * FROM rows", 10_000)))
    vectors = np.random.default_rng(0).normal(size=(rows.num_rows, VECTOR_WIDTH)).astype(np.float32)
    table = read_table(rows.append_column("image", pa.array(list(vectors))))
    ids = [IdFeature(f"id_{number}") for number in range(3)]
    numerics = [NumericFeature("number_0", transform="log1p"), NumericFeature("number_1")]
    history = SequenceFeature("hist_id_0", table="id_0", max_length=5)
    features = {
        "ids": ids,
        "numerics": numerics,
        "every kind": [*ids, *numerics, history, VectorFeature("image", width=VECTOR_WIDTH)],
    }
    prepared = {
        name: prepare(table, Schema(chosen, target="clicked"), split=BY_DAY, batch_size=256)
        for name, chosen in features.items()
    }
    bought = pc.and_(pc.equal(rows["clicked"], 1), pa.array(np.random.default_rng(1).random(rows.num_rows) < 0.5))
    table = read_table(rows.append_column("image", pa.array(list(vectors))).append_column("bought", bought))
    schema = Schema(features["every kind"], target=("clicked", "bought"))
    return {**prepared, "two targets": prepare(table, schema, split=BY_DAY, batch_size=256)}


def two_targets_table(num_rows: int = 6000) -> pa.Table:
    """Planted: clicks follow the item, purchases of clicks follow the shop; no purchase without a click."""
    random = np.random.default_rng(7)
    item, shop = random.integers(0, 40, num_rows), random.integers(0, 12, num_rows)
    clicked = random.random(num_rows) < 1 / (1 + np.exp(-np.linspace(-2.5, 2.5, 40)[item]))
    bought = clicked & (random.random(num_rows) < 1 / (1 + np.exp(-np.linspace(3, -3, 12)[shop])))
    columns = {
        "item": item.astype(str),
        "shop": shop.astype(str),
        "price": np.where(random.random(num_rows) < 0.05, np.nan, random.lognormal(size=num_rows)),
        "day": np.arange(num_rows) * 10 // num_rows,
        "clicked": clicked,
        "bought": bought.astype(np.int8),
    }
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


@pytest.fixture(scope="session")
def two_targets() -> Splits:
    """Rows with two outcomes, a click and a purchase, which follow different columns."""
    features = [IdFeature("item"), IdFeature("shop"), NumericFeature("price", transform="log1p")]
    schema = Schema(features, target=("clicked", "bought"))
    return prepare(read_table(two_targets_table()), schema, split=BY_DAY, batch_size=128)


@pytest.fixture(scope="session")
def trained_several(two_targets: Splits) -> Any:
    """A shared bottom that has learned both targets; tests leave it as it is."""
    from tfshop.models import build_model
    from tfshop.training import train

    model = build_model("shared_bottom", two_targets.schema, dimension=4, hidden=(32,), heads=(16,))
    train(model, two_targets, epochs=4, learning_rate=5e-3)
    return model


@pytest.fixture(scope="session")
def trained(clicks: Splits) -> Callable[[str], Any]:
    """A small network by name, trained for two epochs; tests leave it as it is."""
    from tfshop.models import build_model
    from tfshop.training import train

    @cache
    def network(name: str) -> Any:
        model = build_model(name, clicks.schema, **SMALL)
        train(model, clicks, epochs=2, learning_rate=5e-3)
        return model

    return network


@pytest.fixture(scope="session")
def trained_mlp(trained: Callable[[str], Any]) -> Any:
    """The trained multilayer perceptron."""
    return trained("mlp")


@pytest.fixture(scope="session")
def trained_deepfm(trained: Callable[[str], Any]) -> Any:
    """The trained factorization machine with a tower."""
    return trained("deepfm")


@pytest.fixture(scope="session")
def trained_dcn(trained: Callable[[str], Any]) -> Any:
    """The trained network of crosses."""
    return trained("dcn")


@pytest.fixture(scope="session")
def exported(clicks: Splits, trained: Callable[[str], Any]) -> Callable[[str, str], bytes]:
    """The file of a trained network in a mode: `exported("mlp", "int8")`."""
    from tfshop.export import Export

    @cache
    def content(name: str, mode: str) -> bytes:
        return Export(mode, calibration_rows=512).to_bytes(trained(name), clicks)

    return content


@pytest.fixture(scope="session")
def baseline(trained_mlp: Any, clicks: Splits) -> Any:
    """The float32 file of the perceptron."""
    from tfshop.measuring import measure_baseline

    return measure_baseline(trained_mlp, clicks)


@pytest.fixture(scope="session")
def result(trained_mlp: Any, clicks: Splits, brief_timing: None) -> Any:
    """The plain int8 file, under limits it meets."""
    from tfshop.export import Export, chain
    from tfshop.pipeline import compress

    return compress(trained_mlp, clicks, chain(Export("int8")), max_auc_drop=0.02, max_size_bytes=30_000)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the tests against a real database server, which a dot in a row of dots would not."""
    outcomes = ("passed", "failed", "skipped", "error")
    found = [(o, r) for o in outcomes for r in terminalreporter.stats.get(o, ()) if "test_mariadb" in r.nodeid]
    if found:
        terminalreporter.section("MariaDB")
    for outcome, report in found:
        if report.when == "call" or outcome != "passed":
            terminalreporter.write_line(f"{outcome} in {report.duration:.1f} s: {report.nodeid.split('::')[-1]}")

"""What each technique does to the dense half of four networks, tables left in float32 on every side.

Run: `python benchmarks/dense.py` (about an hour on two cores; `--quick` takes some minutes). A run that was cut short
goes on where it stopped; `--fresh` starts over.

Promotion response; mlp, dcn and deepfm with towers 400-400-400 and dimension 16, and a network in someone else's
style. Each row is an exported file, audited, beside the float32 file of the network it came from: bytes of weights
and biases outside of tables, their size after gzip, multiplications a row, AUC with its paired 95% interval on the
test split, and latency of one call, all files of a network in turns, with what the lookups alone take, which is the
same in all and is taken off for the speed of the dense half. Wall time of the passes, processors' time of the whole row
(passes, export, scoring), and peak memory stand beside those of training the network once. The controls are the smaller
networks trained from scratch in float32, with the same step size and at most as many epochs as the student has, the
best on validation kept; those of `LowRank`, `PruneUnits` and `recipes.fast` are the very networks that these made, all
weights drawn anew. Below each table stands which files reach what is wanted.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import results
from dense_networks import NETWORKS, WIDE, settings_of
from dense_page import BATCHES, page, show
from memory import begin_peak_anew, peak_bytes

import tfshop as ts
from tfshop._console import say
from tfshop._keras import keras
from tfshop.compression.rebuild import copy_model
from tfshop.compression.teaching import fine_tuned
from tfshop.data.binding import bind
from tfshop.data.schema import InputSpec
from tfshop.data.split import Splits
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.export import Plan, convert
from tfshop.measuring import measure_baseline
from tfshop.models.rebuild import fresh
from tfshop.pipeline import Goal, pursue
from tfshop.runtime import Scorer, bytes_by_part, compare_latency, count_multiplies, lookup_tables, read_graph
from tfshop.runtime.inventory import layer_constants

DOCS = Path(__file__).parent.parent / "docs" / "compression.md"
EPOCHS, LEARNING_RATE = 2, 3e-3
STUDENT, SMALL_STUDENT = (100, 100, 100), (64, 32)
NARROW_EPOCHS = ts.recipes.NARROW_EPOCHS  # no longer than the training
STUDENT_EPOCHS, STUDENT_RATE = {STUDENT: 4, SMALL_STUDENT: NARROW_EPOCHS}, 2e-3
TABLES_ALONE = "tables alone"
CONTROLLED = ("low rank, a quarter", "recipes.fast", "units 75%")  # whose networks are trained from scratch too


@dataclass(frozen=True)
class Row:
    """One file to be made of a network: a plan, after an epoch in float or not; or a smaller network from scratch.

    `kept` are the tables of a student that has other layers than the network it came from.
    """

    name: str
    passes: tuple[Any, ...] = ()
    export: Mapping[str, Any] = field(default_factory=lambda: {"mode": "float32"})
    control: tuple[int, ...] = ()
    control_of: str = ""
    family: str = ""
    tuned: bool = False
    kept: tuple[str, ...] = ()

    @property
    def made_by(self) -> str:
        """Passes and settings in words: a row of other ones is made again."""
        steps = [
            [
                type(step).__name__,
                {key: value for key, value in vars(step).items() if not isinstance(value, keras.Model)},
            ]
            for step in self.passes
        ]
        own = [steps, dict(self.export), self.control, self.control_of, self.family, self.tuned]
        return json.dumps([*own, *([self.kept] if self.kept else [])], default=str)

    def plan(self, model: Any) -> Plan:
        """The plan; tables stay in float32."""
        settings = dict(self.export)
        if settings["mode"] == "int8":
            settings["keep_float"] = self.kept or tuple(layer.name for layer in _tables(model))
        return ts.chain(*self.passes, ts.Export(**settings))


def rows_of(network: str, data: Splits, seed: int) -> tuple[Row, ...]:
    """What is made of a network."""
    student, small = (_student(network, hidden, data, seed) for hidden in (STUDENT, SMALL_STUDENT))
    int8, float32 = {"mode": "int8"}, {"mode": "float32"}
    careful = {**int8, "ranges": "mse", "bias_correction": True}
    units = ts.PruneUnits(0.75, multiple_of=8)
    return (
        Row("float32"),
        Row("prune 80%, global", (ts.Prune(0.8, scope="global"),)),
        Row("prune 2:4", (ts.Prune(0.5, pattern="2:4"),)),
        Row("cluster 16", (ts.Cluster(16),)),
        Row("prune, cluster, int8", (ts.Prune(0.8), ts.Cluster(16)), int8),
        Row("units 75%", (units,)),
        Row("units 75%, int8", (units,), int8),
        Row("low rank, a quarter", (ts.LowRank(max_multiplies=0.25),)),
        Row("low rank, a quarter, int8", (ts.LowRank(max_multiplies=0.25),), int8),
        Row("float16", (), {"mode": "float16"}),
        Row("dynamic", (), {"mode": "dynamic"}),
        Row("int8", (), int8),
        Row("int8, mse ranges, bias corrected", (), careful),
        Row("int8, percentile ranges", (), {**int8, "ranges": "percentile"}),
        Row("int8, entropy ranges", (), {**int8, "ranges": "entropy"}),
        Row("int8, costly layers in float", (), {**int8, "mixed": {"max_auc_drop": 1e-4}}),
        Row("equalize, int8", (ts.Equalize(),), int8),
        Row("int16x8", (), {"mode": "int16x8"}),
        Row("drop features", (ts.DropFeatures(),)),
        Row("qat int8", (ts.QAT(),), int8),
        Row("control: QAT's epoch without rounding, int8", (), int8, tuned=True),
        Row("qat 4 bits", (ts.QAT(bits=4),), int8),
        Row("student 100", (student,), float32),
        Row("student 100, int8", (student,), int8),
        Row("student 64-32, int8", (small,), int8),
        Row("student 100, prune, int8", (student, ts.Prune(0.5)), int8),
        Row("control 100 from scratch", control=STUDENT),
        Row("control 64-32 from scratch", control=SMALL_STUDENT),
        *(_recipe(name) for name in ("fast", "small_download", "careful", "classic")),
        Row("int8, a layer in float", (), {**int8, "mixed": {"max_change": 0.003}}),
        Row("qat 2 bits", (ts.QAT(bits=2),), int8),
        Row("control: low rank's network from scratch", control_of=CONTROLLED[0]),
        Row("control: fast's network from scratch", control_of=CONTROLLED[1]),
        Row("control: units 75% from scratch", control_of=CONTROLLED[2]),
        *(_of_another_family(data, seed) if network != "mlp" else ()),
    )


def _of_another_family(data: Splits, seed: int) -> tuple[Row, ...]:
    """A student without crosses and products, for processors on which these take most of the time."""
    student = _student("mlp", SMALL_STUDENT, data, seed)
    return (
        Row("student mlp 64-32, int8", (replace(student, family="mlp"),), {"mode": "int8"}, kept=("table",)),
        Row("control mlp 64-32 from scratch", control=SMALL_STUDENT, family="mlp"),
    )


def _recipe(name: str) -> Row:
    """A recipe as it is, its tables in float32 and as wide as those of the network."""
    plan = ts.recipes.RECIPES[name](**({"dimension": None} if name == "fast" else {}))
    return Row(f"recipes.{name}", plan.passes, asdict(plan.exporter))


def main() -> None:
    """Make every row of every network, time the files, print the tables, write the JSON and the page."""
    options = _options()
    name = "dense_quick" if options.quick else "dense"
    settings = {"fraction": options.fraction, "seed": options.seed}
    done: dict[str, Any] = {} if options.fresh else _done(name, settings)
    data = ts.datasets.complete_journey(fraction=options.fraction)
    for network in options.networks:
        found = done.setdefault(network, {"rows": {}})
        _make(network, found, data, options, lambda: results.save(name, {"settings": settings, "networks": done}))
        _time(network, found, data, options)
        say(f"written: {results.save(name, {'settings': settings, 'networks': done})}")
        show(network, found)
    is_whole = not options.rows and options.fraction == 1.0 and set(done) == set(NETWORKS)  # a part is no page
    if is_whole:
        text = "\n\n".join(f"`{network}`\n\n{page(found)}" for network, found in done.items())
        results.write_between(DOCS, "dense", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the households, in (0, 1]")
    parser.add_argument("--networks", nargs="*", default=tuple(NETWORKS), choices=tuple(NETWORKS), help="only these")
    parser.add_argument("--rows", nargs="*", default=(), help="only rows whose name has one of these words")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="start over")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the households: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction = min(options.fraction, 0.05)
    return options


def _done(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    path = results.FOLDER / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found["networks"] if found.get("settings") == settings else {}


def _make(network: str, found: dict[str, Any], data: Splits, options: argparse.Namespace, save: Any) -> None:
    """The rows that are not there yet; the network they start from is trained anew, with its seed, where any is."""
    wanted = [
        row
        for row in rows_of(network, data, options.seed)
        if not options.rows or any(word in row.name for word in options.rows)
    ]
    asked = {"float32", *(name for row in wanted for name in (row.name, row.control_of))}
    wanted = [row for row in rows_of(network, data, options.seed) if row.name in asked]
    old = {row.name for row in wanted if not _is_done(row, network, found["rows"], options)}
    missing = [row for row in wanted if {row.name, row.control_of} & old]
    if not missing:
        return
    for row in rows_of(network, data, options.seed):  # a control of the network of an older row is an older row too
        if {row.name, row.control_of} & old:
            found["rows"].pop(row.name, None)
    model = NETWORKS[network](data.schema, WIDE, options.seed)
    with _measured() as training:
        ts.train(model, data, epochs=EPOCHS, learning_rate=LEARNING_RATE, seed=options.seed)
    found["training"] = dict(training)
    baseline = measure_baseline(model, data)
    for row in missing:
        say(f"{network}: {row.name}")
        try:
            made = _row(row, network, model, baseline, data, options)
            found["rows"][row.name] = {**made, "training": found["training"], "made_by": row.made_by}
        except ts.TfshopError as error:
            found["rows"][row.name] = {"refused": str(error), "made_by": row.made_by}
            _file(network, row.name, options, "keras").unlink(missing_ok=True)  # of an earlier run, for the controls
            say(f"  refused: {error}")
        save()


def _row(
    row: Row, network: str, model: Any, baseline: Measured, data: Splits, options: argparse.Namespace
) -> dict[str, Any]:
    with _measured() as spent:
        if row.control or row.control_of:
            measured = _control(row, network, baseline, data, options)
            notes: list[str] = []
        else:
            start = _tuned(model, data, options.seed) if row.tuned else model
            result = pursue(
                start, data, row.plan(model), Goal(row.name, seed=options.seed, baseline=baseline, timed=False)
            )
            measured, notes = result.measured, list(result.evaluation.notes)
            spent["pass_seconds"] = result.seconds
            if row.name in CONTROLLED:
                result.candidate.model.save(_file(network, row.name, options, "keras"))
    _file(network, row.name, options).write_bytes(measured.content)
    difference = measured.evaluation.auc_difference_test
    _require_float_tables(measured.content, row)
    return {
        **spent,
        "dense_bytes": bytes_by_part(measured.content)["dense"],
        "dense_gzip": _dense_gzip(measured.content),
        "multiplies": count_multiplies(measured.content),
        "size_bytes": len(measured.content),
        "validation_auc": measured.evaluation.validation.auc,
        "test_auc": measured.evaluation.test.auc,
        "difference": None if difference is None else [difference.difference, difference.low, difference.high],
        "notes": notes,
    }


def _control(row: Row, network: str, baseline: Measured, data: Splits, options: argparse.Namespace) -> Measured:
    """The same smaller network without a teacher."""
    seed = options.seed
    if row.control_of:
        model, epochs = (
            _drawn_anew(ts.load_model(_file(network, row.control_of, options, "keras")), seed),
            NARROW_EPOCHS,
        )
    else:
        model = NETWORKS[row.family or network](data.schema, row.control, seed)
        epochs = STUDENT_EPOCHS[row.control]
    ts.train(model, data, epochs=epochs, learning_rate=STUDENT_RATE, seed=seed)
    return measure_file(row.name, ts.Export("float32").to_bytes(model, data), data, baseline=baseline)


def _file(network: str, row: str, options: argparse.Namespace, kind: str = "tflite") -> Path:
    folder = results.FOLDER / ("dense_quick" if options.quick else "dense")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{network}-{row}.{kind}"


def _is_done(row: Row, network: str, rows: Mapping[str, Any], options: argparse.Namespace) -> bool:
    """Whether a row is there, made as it would be today, with the network that a control is drawn from."""
    if row.name not in rows or rows[row.name].get("made_by") != row.made_by:
        return False
    return row.name not in CONTROLLED or _file(network, row.name, options, "keras").exists()


def _drawn_anew(model: Any, seed: int) -> Any:
    """The network with the weights that its layers begin with."""
    keras.utils.set_random_seed(seed)
    for layer in model.layers:
        if layer.weights:
            begun = fresh(layer)
            begun.build(layer.get_input_shape_at(0))
            layer.set_weights(begun.get_weights())
    return model


def _tuned(model: Any, data: Splits, seed: int) -> Any:
    """The network after the epoch that QAT trains, in float."""
    tuned = copy_model(model)
    fine_tuned(tuned, model, data, ts.QAT(), seed=seed)
    return tuned


def _student(network: str, hidden: tuple[int, ...], data: Splits, seed: int) -> Any:
    """The same smaller network that the control is, as hyperparameters or as a network."""
    ours = settings_of(network, hidden) if network in ts.MODELS else NETWORKS[network](data.schema, hidden, seed)
    return ts.Distill(ours, epochs=STUDENT_EPOCHS[hidden], learning_rate=STUDENT_RATE)


def _tables(model: Any) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ == "Embedding"]


def _require_float_tables(content: bytes, row: Row) -> None:
    """Only the dense half may have changed, or sizes and latencies say something else."""
    found = {table.tensor.dtype for table in lookup_tables(read_graph(content))}
    if row.export.get("mode") in {"float32", "int8"} and found != {"float32"}:
        raise SystemExit(f"{row.name}: tables are {', '.join(sorted(found))}. Expected float32.")


def _dense_gzip(content: bytes) -> int:
    constants = {tensor.buffer: tensor for tensor in layer_constants(read_graph(content))}
    return len(gzip.compress(b"".join(t.stored().tobytes() for t in constants.values()), 9))


@contextmanager
def _measured() -> Iterator[dict[str, Any]]:
    """Seconds by the clock and of the processors, and the peak of the memory, rows and TensorFlow included."""
    gc.collect()
    begin_peak_anew()
    started, worked = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    yield found
    found |= {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked,
        "peak_bytes": peak_bytes(),
    }


def _time(network: str, found: dict[str, Any], data: Splits, options: argparse.Namespace) -> None:
    """All files of a network in turns, and one that looks the tables up and does no more."""
    names = [name for name, row in found["rows"].items() if "refused" not in row]
    files = {name: _file(network, name, options).read_bytes() for name in names}
    files[TABLES_ALONE] = _lookups(NETWORKS[network](data.schema, WIDE, options.seed))
    sample = data.test.take(2048, seed=0)
    inputs: dict[str, Any] = {}
    for content in files.values():  # a student of a network in another style can have packed inputs
        wanted = Scorer(content, schema=data.schema).inputs
        inputs |= bind(sample.inputs, data.schema, {n: InputSpec(s.shape, s.dtype) for n, s in wanted.items()})
    for name, latency in compare_latency(files, inputs=inputs, batch_sizes=BATCHES, seconds=0.3).items():
        timed = {str(row.batch_size): row.p50_us for row in latency.rows}
        if name == TABLES_ALONE:
            found["tables_us"] = timed
        else:
            found["rows"][name]["p50_us"] = timed


def _lookups(model: Any) -> bytes:
    """What every file of a network has in common: its rows of the tables, in float32."""
    tables = _tables(model)
    found = [table.get_output_at(call) for table in tables for call in range(len(table.inbound_nodes))]
    return convert(keras.Model(model.inputs, found), "float32")


if __name__ == "__main__":
    main()

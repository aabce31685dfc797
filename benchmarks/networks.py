"""Every network of `MODELS` on promotion response, at equal embedding dimension; rewrites docs/networks.md's table.

Run: `python benchmarks/networks.py` (about an hour on two cores; `--quick` takes a few minutes). A run that was cut
short goes on where it stopped, unless the code of the networks, the machine or a version changed; `--fresh` starts
over. The page is written by a run of all networks with the settings it is of, and by no other.

Every network is trained on the same third of the training rows, with the same step size, batch and early stopping on
validation, twice, with two seeds. AUCs are of the float32 file for `bought`; networks of several targets learn
`type_bought` beside it. Hyperparameters are the same for all where they have them and their own defaults elsewhere:
nothing was tuned for any of them. All files are timed in turns at the end.
"""

from __future__ import annotations

import argparse
import inspect
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import results
from sklearn.metrics import roc_auc_score

import tfshop as ts
from tfshop._console import say
from tfshop.data.datasets.complete_journey import complete_journey_schema, complete_journey_table
from tfshop.data.split import Split, Splits
from tfshop.runtime import compare_latency, read_graph

DOCS = Path(__file__).parent.parent / "docs" / "networks.md"
FILES = results.FOLDER / "networks"
SHARED = {"dimension": 16, "hidden": (128, 64)}
PAGE = {"rows": 1 / 3, "seeds": 2, "epochs": 4, "fraction": 1.0}
SEVERAL = ("shared_bottom", "esmm", "mmoe", "ple")
TARGETS = ("type_bought", "bought")
HOUSEHOLD = ("household_id", "age", "income", "household_size", "kids_count", "hist_product_type", "store_id")
HEADINGS = (
    "network",
    "parameters",
    "dense",
    "ops",
    "size",
    "int8",
    "batch 1",
    "batch 128",
    "validation",
    "test",
    "train",
)


def main() -> None:
    """Train, export, score and time every network, print the table, write the JSON and the page."""
    options = _options()
    name = "networks_quick" if options.quick else "networks"
    settings: dict[str, Any] = {key: getattr(options, key) for key in PAGE}
    is_whole = settings == PAGE and not options.networks
    settings |= {"code": results.code_digest("data", "layers", "models", "training"), **results.made_on()}
    done = {} if options.fresh else _done(name, settings)
    wanted = [network for network in ts.MODELS if not options.networks or network in options.networks]
    data = _prepared(options, targets=("bought",))
    two = _prepared(options, targets=TARGETS)
    for network in wanted:
        if network not in done:
            done[network] = _measured(network, two if network in SEVERAL else data, options)
            results.save(name, {"settings": settings, "networks": done})
    times = _timed(wanted, data)
    for network, latency in times.items():
        done[network]["p50_us"] = latency
    say(f"written: {results.save(name, {'settings': settings, 'networks': done})}")
    ordered = sorted(times, key=lambda network: -np.mean(done[network]["test"]))
    rows = [_cells(network, done[network]) for network in ordered]
    results.show("Networks on promotion response", HEADINGS, rows)
    if is_whole:
        results.write_between(DOCS, "networks", results.markdown(HEADINGS, rows))
        say(f"rewritten: {DOCS.name}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=(), help="only these")
    parser.add_argument("--rows", type=float, default=PAGE["rows"], help="share of the training rows")
    parser.add_argument("--seeds", type=int, default=PAGE["seeds"], help="runs of each network")
    parser.add_argument(
        "--epochs", type=int, default=PAGE["epochs"], help="most epochs; training stops early on validation"
    )
    parser.add_argument("--fraction", type=float, default=PAGE["fraction"], help="of the households, in (0, 1]")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run measured")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the households: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction, options.seeds, options.epochs = min(options.fraction, 0.05), 1, 1
    return options


def _done(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run with the same settings measured."""
    path = results.FOLDER / f"{name}.json"
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = content["networks"] if content["settings"] == settings else {}
    return found


def _prepared(options: argparse.Namespace, targets: Sequence[str]) -> Splits:
    """The data set with a fixed share of its training rows, the same rows whichever targets are asked for."""
    table = complete_journey_table(fraction=options.fraction, targets=targets)
    schema = complete_journey_schema().replace(target=targets[0] if len(targets) == 1 else tuple(targets))
    data = ts.prepare(table, schema, split=ts.TimeSplit("week", validation=43, test=45))
    return replace(data, train=data.train.take(int(data.train.num_rows * options.rows), seed=0))


def _hyperparameters(network: str, schema: Any) -> dict[str, Any]:
    accepted = inspect.signature(ts.MODELS[network]).parameters
    shared = {name: value for name, value in SHARED.items() if name in accepted}
    if network == "two_tower":
        names = [feature.name for feature in schema.features]
        shared |= {
            "user": tuple(name for name in names if name in HOUSEHOLD),
            "item": tuple(name for name in names if name not in HOUSEHOLD),
        }
    return shared


def _measured(network: str, data: Splits, options: argparse.Namespace) -> dict[str, Any]:
    """One network over the seeds; the first seed's file is kept for timing."""
    row: dict[str, Any] = {"validation": [], "test": [], "seconds": []}
    for seed in range(options.seeds):
        model = ts.build_model(network, data.schema, seed=seed, **_hyperparameters(network, data.schema))
        started = time.perf_counter()
        ts.train(model, data, epochs=options.epochs, seed=seed)
        row["seconds"].append(time.perf_counter() - started)
        content = ts.Export("float32").to_bytes(model, data)
        for part in ("validation", "test"):
            row[part].append(_auc(content, getattr(data, part)))
        if seed == 0:
            FILES.mkdir(parents=True, exist_ok=True)
            (FILES / f"{network}.tflite").write_bytes(content)
            row |= {
                "parameters": model.count_params(),
                "table_parameters": _table_parameters(model),
                "operators": sum(read_graph(content).kinds.values()),
                "size_bytes": len(content),
                "int8_bytes": len(ts.Export("int8").to_bytes(model, data)),
            }
    say(f"{network}: test AUC {' '.join(f'{auc:.4f}' for auc in row['test'])} in {sum(row['seconds']):.0f} s")
    return row


def _table_parameters(model: Any) -> int:
    layers = [layer for layer in model._flatten_layers(include_self=False) if type(layer).__name__ == "Embedding"]
    return sum(layer.count_params() for layer in layers)


def _auc(content: bytes, split: Split) -> float:
    """AUC of the file for `bought`."""
    scores = ts.Scorer(content, schema=split.schema, num_threads=2).score_split(split)
    if isinstance(scores, dict):
        scores = scores["probability_bought"]
    labels = split.labels if split.labels.ndim == 1 else split.labels[:, TARGETS.index("bought")]
    return float(roc_auc_score(labels, np.ravel(scores)))


def _timed(networks: Sequence[str], data: Splits) -> dict[str, dict[str, float]]:
    files = {name: (FILES / f"{name}.tflite").read_bytes() for name in networks}
    inputs = data.test.take(2048, seed=0).inputs
    times = compare_latency(files, inputs=inputs, batch_sizes=(1, 128), seconds=0.3)
    return {name: {str(row.batch_size): row.p50_us for row in latency.rows} for name, latency in times.items()}


def _cells(network: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        network,
        f"{row['parameters']:,}",
        f"{row['parameters'] - row['table_parameters']:,}",
        str(row["operators"]),
        f"{row['size_bytes'] / 1e6:.2f} MB",
        f"{row['int8_bytes'] / 1e6:.2f} MB",
        *(f"{row['p50_us'][batch]:.1f} us" for batch in ("1", "128")),
        f"{np.mean(row['validation']):.4f}",
        f"{np.mean(row['test']):.4f} +-{np.ptp(row['test']) / 2:.4f}",
        f"{np.mean(row['seconds']):.0f} s",
    )


if __name__ == "__main__":
    main()

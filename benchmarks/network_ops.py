"""How large is the graph of each network, and how long does its conversion take?

Every network of `MODELS` over 26 id fields with small vocabularies, converted to float32 without training: operators of
the file, parameters without the tables' rows and with them, bytes, and seconds of conversion. Networks of several
targets get two; those that read a history get one of ten ids (`--history`), and two towers the first 13 fields on the
user's side. The table of docs/networks.md is rewritten. The rows are synthetic; nothing here says how well a network
predicts.

    python benchmarks/network_ops.py                    # under a minute on two cores
    python benchmarks/network_ops.py --networks fm ffm  # a few of them
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import results

import tfshop as ts
from tfshop._console import progress, say
from tfshop.compression.roles import layers_with
from tfshop.data import Splits
from tfshop.data.datasets.synthetic import synthetic
from tfshop.errors import TfshopError
from tfshop.export import convert
from tfshop.models import SEVERAL_TARGETS, known_hyperparameters
from tfshop.runtime import read_graph

DOCS = Path(__file__).parent.parent / "docs" / "networks.md"
WITH_HISTORY = ("mean_pooling", "din", "dien", "bst")
HEADINGS = ("network", "operators", "kinds", "parameters", "of them in tables", "size, kB", "to convert, s")


@dataclass(frozen=True)
class Measured:
    """What one network's file is like."""

    network: str
    num_operators: int
    kinds: dict[str, int]
    parameters: int
    table_parameters: int
    size_bytes: int
    convert_seconds: float


def main() -> None:
    """Build, convert, count, print and write."""
    options = _options()
    data = synthetic(1000, num_id_features=options.fields, rows_per_feature=options.rows, num_numeric=0)
    longer = synthetic(
        1000, num_id_features=options.fields, rows_per_feature=options.rows, num_numeric=0, history=options.history
    )
    measured, refused = [], {}
    _convert("mlp", data, options)  # the first conversion of a process loads the converter
    with progress("converting", len(options.networks)) as advance:
        for network in options.networks:
            try:
                measured.append(_convert(network, longer if network in WITH_HISTORY else data, options))
            except TfshopError as error:
                refused[network] = str(error)
            advance()
    _show(measured, refused, options)
    content = {"settings": vars(options), "networks": [asdict(row) for row in measured], "refused": refused}
    say(f"written: {results.save('network_ops', content)}")
    if list(options.networks) == list(ts.MODELS):
        results.write_between(DOCS, "operators", _page(measured))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=26, help="id features")
    parser.add_argument("--rows", type=int, default=50, help="different ids of a feature")
    parser.add_argument("--dimension", type=int, default=16, help="width of the tables, of ffm's vectors too")
    parser.add_argument("--history", type=int, default=10, help="ids of a history, for networks that read one")
    parser.add_argument("--networks", nargs="+", choices=list(ts.MODELS), default=list(ts.MODELS), help="which")
    return parser.parse_args()


def _convert(network: str, data: Splits, options: argparse.Namespace) -> Measured:
    settings: dict[str, Any] = {"dimension": options.dimension} if "dimension" in known_hyperparameters(network) else {}
    if network == "two_tower":
        settings["user"] = tuple(feature.name for feature in data.schema.id_features[: options.fields // 2])
    schema = data.schema.replace(target=("clicked", "bought")) if network in SEVERAL_TARGETS else data.schema
    model = ts.build_model(network, schema, **settings)
    start = time.perf_counter()
    content = convert(model, "float32")
    seconds = time.perf_counter() - start
    graph = read_graph(content)
    return Measured(
        network=network,
        num_operators=len(graph.all_operators),
        kinds=dict(graph.kinds),
        parameters=model.count_params(),
        table_parameters=_table_parameters(model),
        size_bytes=len(content),
        convert_seconds=round(seconds, 2),
    )


def _page(measured: Sequence[Measured]) -> str:
    rows = [
        (
            row.network,
            str(row.num_operators),
            f"{row.parameters:,}",
            f"{row.size_bytes / 1e6:.2f} MB",
            f"{row.convert_seconds:.1f}",
        )
        for row in sorted(measured, key=lambda row: row.num_operators)
    ]
    return results.markdown(("network", "operators", "parameters", "size", "seconds to convert"), rows)


def _table_parameters(model: Any) -> int:
    return sum(model.get_layer(name).count_params() for name in layers_with(model, ("table",)))


def _show(measured: Sequence[Measured], refused: dict[str, str], options: argparse.Namespace) -> None:
    rows = [
        (
            row.network,
            str(row.num_operators),
            str(len(row.kinds)),
            f"{row.parameters:,}",
            f"{row.table_parameters:,}",
            f"{row.size_bytes / 1000:,.0f}",
            f"{row.convert_seconds:.1f}",
        )
        for row in measured
    ]
    note = (
        f"Float32 files over {options.fields} id fields of up to {options.rows} ids, dimension {options.dimension}, "
        "other hyperparameters as the builders have them. Synthetic rows, no training."
    )
    results.show("The graph of each network", HEADINGS, rows, note=note)
    for network, message in refused.items():
        say(f"{network} was refused: {message}")


if __name__ == "__main__":
    main()

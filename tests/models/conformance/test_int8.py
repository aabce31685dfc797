"""Every network as an int8 file."""

from __future__ import annotations

import numpy as np
from helpers import first_rows
from networks import file_outputs

from models.conformance.shared import MOST_ROWS, Built, Scored, each_network, richest
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.runtime import Scorer, read_graph


@each_network
def test_the_int8_file_keeps_the_order_of_the_scores(
    name: str, built: Built, scored: Scored, kinds: dict[str, Splits]
) -> None:
    """Of weights that were never trained, on the hardest features: that it is no coin toss, not how good it is."""
    data, model = kinds[richest(name)], built(name, richest(name))
    content = Export("int8", calibration_rows=64).to_bytes(model, data)
    graph = read_graph(content)
    assert graph.custom_operators == () and any(tensor.dtype == "int8" for tensor in graph.tensors)
    scorer = Scorer(content)
    for batch in (1, 7, MOST_ROWS):
        rows = first_rows(data.train.inputs, batch)
        scores = file_outputs(scorer, rows)
    for output, expected in scored(name, richest(name)).items():
        assert np.corrcoef(scores[output], expected)[0, 1] > 0.9

"""Tables of shared or short rows learn after coding, and the file holds what they learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores

from tfshop.compression import Candidate, EncodeTables, TuneTables
from tfshop.data import Splits
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export
from tfshop.runtime import Scorer, read_graph
from tfshop.tables import (
    Codec,
    Grouped,
    Hashed,
    Int2,
    Int4,
    LowRankTable,
    MemCom,
    QuotientRemainder,
    RareRows,
    resolved,
    row_counts,
)
from tfshop.tables.codec import Fields
from tfshop.training.scoring import mean_auc

CODECS: dict[str, Codec] = {
    "short rows": LowRankTable(1, Int4("table")),
    "hashed": Hashed(16, hashes=1, codec=Int4("table")),
    "quotients": QuotientRemainder(16, Int4("table")),
    "factors": MemCom(3, Int4("table")),
    "a group": Grouped((LowRankTable(2, Int2("table")), RareRows(Hashed(16), kept=30)), split=(30,)),
}


@pytest.fixture(scope="module", params=CODECS)
def pair(request: pytest.FixtureRequest, trained_mlp: Any, clicks: Splits) -> tuple[Codec, Candidate, Candidate]:
    """A codec, the network that was coded with it, and the same after tuning."""
    codec = CODECS[request.param]
    coded = EncodeTables(codec, fold=False).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    return codec, coded, TuneTables(epochs=1).apply(coded, clicks, seed=0)


def held(content: bytes) -> set[bytes]:
    return {t.data.tobytes() for t in read_graph(content).tensors if t.data is not None}


def test_training_wins_back_what_coding_lost(pair: tuple[Codec, Candidate, Candidate], clicks: Splits) -> None:
    _, coded, made = pair
    notes = made.history[-1].notes
    assert notes["kept"] == "tuned"
    assert mean_auc(made.model, clicks.validation) > mean_auc(coded.model, clicks.validation) + 0.002
    best = max(epoch["validation_auc"] for epoch in notes["fit"]["epochs"])
    assert mean_auc(made.model, clicks.validation) == pytest.approx(best, abs=1e-4)  # rounded all along


def test_the_file_holds_other_codes_of_the_same_bytes(
    pair: tuple[Codec, Candidate, Candidate], trained_mlp: Any, clicks: Splits
) -> None:
    codec, coded, made = pair
    before, after = (candidate.model.get_layer("table").stored() for candidate in (coded, made))
    content = Export("float32").to_bytes(made.model, clicks)
    audit_file(content, made.model, clicks, mode="float32")
    assert all(array.tobytes() in held(content) for array in after.values())
    changed = {key for key in after if not np.array_equal(before[key], after[key])}
    assert any(after[key].dtype == np.uint8 for key in changed) and len(changed) > 1
    counts = row_counts(trained_mlp, ("table",), clicks.train)["table"]
    starts = tuple(int(start) for start in np.cumsum([0, *clicks.schema.tables.values()])[:-1])
    fields = Fields(starts, (0, 1, 2, *[0] * 5))
    whole = resolved(codec, len(counts), 8, counts, fields)
    assert sum(array.nbytes for array in after.values()) == whole.num_bytes(len(counts), 8, fields)
    rows = first_rows(clicks.validation.inputs, 100)
    np.testing.assert_allclose(Scorer(content)(rows).ravel(), keras_scores(made.model, rows), atol=1e-5)

"""Golden vectors are the file's own scores, and other scores are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from artifact.conftest import rewrite
from tfshop.artifact import Artifact, Golden
from tfshop.data import Splits
from tfshop.errors import ArtifactError
from tfshop.export import Export, chain
from tfshop.runtime import Scorer


def test_golden_rows_are_a_sample_of_validation_with_the_files_own_scores(artifact: Artifact, clicks: Splits) -> None:
    """Not the first rows: in a log those are often of one user."""
    golden, rows = artifact.golden, clicks.validation.inputs
    assert golden.scores.shape == (100,) and len(np.unique(golden.scores)) > 50
    np.testing.assert_array_equal(golden.scores, Scorer(artifact.model_bytes)(golden.inputs))
    assert np.isnan(golden.inputs["numeric"]).any()
    known = {row.tobytes() for row in np.hstack([rows["ids"], rows["hist_id_0"]])}
    drawn = [row.tobytes() for row in np.hstack([golden.inputs["ids"], golden.inputs["hist_id_0"]])]
    assert set(drawn) <= known and drawn != [row.tobytes() for row in np.hstack([rows["ids"], rows["hist_id_0"]])[:100]]


def test_a_file_that_gives_other_scores_than_its_golden_ones_is_refused(copy: Path, artifact: Artifact) -> None:
    rewrite(copy, "golden.npz", replace(artifact.golden, scores=artifact.golden.scores + np.float32(0.01)).to_bytes())
    with pytest.raises(ArtifactError, match=r"differ from its golden ones by 1\.0e-02.*Fix:"):
        Artifact.load(copy)


def test_golden_scores_that_are_no_numbers_are_refused(copy: Path, artifact: Artifact) -> None:
    """NaN is larger than no tolerance."""
    rewrite(copy, "golden.npz", replace(artifact.golden, scores=np.full(100, np.nan, np.float32)).to_bytes())
    with pytest.raises(ArtifactError, match="golden"):
        Artifact.load(copy)


def test_float_files_have_to_meet_their_golden_scores_more_closely(artifact: Artifact, other: Artifact) -> None:
    """Another processor may round an integer step the other way; a float it may not change that much."""
    for one, is_close in ((artifact, True), (other, False)):
        mode = "int8" if is_close else "float32"
        shifted = replace(one, plan=chain(Export(mode)).to_dict(), golden=moved(one.golden, 1e-3))
        if is_close:
            assert shifted.verify() == pytest.approx(1e-3, rel=0.1)
        else:
            with pytest.raises(ArtifactError, match=r"by 1\.0e-03, 1\.0e-03 on average. Expected at most 1e-04"):
                shifted.verify()


def moved(golden: Golden, by: float) -> Golden:
    return replace(golden, scores=golden.scores + np.float32(by))


@pytest.mark.parametrize("rows", [0, 50])
def test_golden_rows_that_do_not_fit_their_scores_are_refused(rows: int, copy: Path, artifact: Artifact) -> None:
    """No rows prove nothing, and half of them not the whole."""
    inputs = {name: values[:rows] for name, values in artifact.golden.inputs.items()}
    scores = artifact.golden.scores[:rows] if rows == 0 else artifact.golden.scores
    rewrite(copy, "golden.npz", Golden(inputs, scores).to_bytes())
    with pytest.raises(ArtifactError, match="golden"):
        Artifact.load(copy)


def test_golden_inputs_of_another_file_are_refused(copy: Path, artifact: Artifact) -> None:
    inputs = {name: values for name, values in artifact.golden.inputs.items() if name != "numeric"}
    rewrite(copy, "golden.npz", replace(artifact.golden, inputs=inputs).to_bytes())
    with pytest.raises(ArtifactError, match=r"does not take its golden inputs.*numeric"):
        Artifact.load(copy)

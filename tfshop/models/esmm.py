"""Entire Space Multi-task Model: conversions learned from all exposures, not from clicks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.models.blocks import tower
from tfshop.models.several import features, short_names, target_inputs


def build_esmm(
    schema: Schema, *, dimension: int = 16, hidden: Sequence[int] = (360, 200, 80), dropout: float = 0.0
) -> Any:
    r"""A tower for clicks and one for conversions of clicks over shared embeddings; the second is never seen alone.

    .. math:: p(\text{click}, \text{conversion}) = p(\text{click}) \, p(\text{conversion} \mid \text{click})

    Every row is an exposure; a conversion without a click has no place in the model. `logit_<conversion>` is that of
    the conversion of a click, not of the output, which is a product.

    Args:
        schema: Fitted schema of two targets: click, then conversion.
        dimension: Width of the embedding table.
        hidden: Widths of each tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Outputs: `probability_<click>` and
        `probability_<conversion>` (pCTR and pCTCVR of the paper), float32 (batch, 1), a list. What the paper calls
        pCVR is the layer `probability_<conversion>_of_<click>`.

    Raises:
        ModelError: For another number of targets.

    References:
        Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate,
        SIGIR 2018.
    """
    inputs = target_inputs(schema, "esmm")
    if len(schema.targets) != 2:  # noqa: PLR2004  (a click and a conversion)
        raise ModelError(
            f"esmm learns a click and a conversion, and the schema has {len(schema.targets)} targets: "
            f"{', '.join(schema.targets)}. Expected two, the click first. Fix: Schema(…, target=('clicked', 'bought'))."
        )
    read = features(schema, inputs, dimension)
    click, conversion = short_names(schema).values()
    towers = [tower(*read, hidden, dropout=dropout, name=f"tower_{short}") for short in (click, conversion)]
    logits = [
        keras.layers.Dense(1, name=f"logit_{short}")(deep)
        for short, deep in zip((click, conversion), towers, strict=True)
    ]
    names = list(schema.outputs.values())
    clicked = keras.layers.Activation("sigmoid", name=names[0])(logits[0])
    of_clicks = keras.layers.Activation("sigmoid", name=f"{names[1]}_of_{click}")(logits[1])
    both = keras.layers.Multiply(name=names[1])([clicked, of_clicks])
    return keras.Model(inputs=inputs, outputs=[clicked, both], name="esmm")

"""Product-based neural network: a tower over the fields and the products of their pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import InnerProducts, OuterProduct
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_fields,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_fields

LAYERS: Mapping[str, Any] = {"inner": InnerProducts, "outer": OuterProduct}
PRODUCTS = (*LAYERS, "both")


def build_pnn(
    schema: Schema,
    *,
    product: str = "inner",
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """A tower whose first layer reads the fields and, through kernels of their own, products of all pairs.

    With "inner" the dot product of each pair, with "outer" the sum of the outer products of all pairs, which the paper
    calls superposition. Numbers enter the tower beside the fields.

    Args:
        schema: Fitted schema with two fields or more.
        product: "inner" (IPNN), "outer" (OPNN) or "both" (PNN*).
        dimension: Width of the embedding table.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with fewer than two fields, or an unknown product.

    References:
        Qu et al., Product-based Neural Networks for User Response Prediction, ICDM 2016.
    """
    require_fields(schema, "pnn")
    if product not in PRODUCTS:
        raise ModelError(f"product is {product!r}. Expected one of {', '.join(PRODUCTS)}. Fix: product='inner'.")
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, dimension)
    layers = [layer(name=f"{kind}_products") for kind, layer in LAYERS.items() if product in {kind, "both"}]
    deep = tower(
        flat_fields(fields),
        numeric_columns(schema, inputs),
        hidden,
        dropout=dropout,
        beside={layer.name: layer(fields) for layer in layers},
    )
    return click_model(inputs, [deep], name="pnn")

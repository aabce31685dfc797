"""Logistic regression: one weight an id, the baseline of all click models."""

from __future__ import annotations

from typing import Any

from tfshop.data.schema import Schema
from tfshop.models.blocks import click_inputs, click_model, first_order_terms, numeric_columns


def build_logistic_regression(schema: Schema) -> Any:
    """A weight for each id, vector column and number, added up.

    Args:
        schema: Fitted schema.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    References:
        McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013.
    """
    inputs = click_inputs(schema)
    terms = first_order_terms(schema, inputs, numeric_columns(schema, inputs))
    return click_model(inputs, [], name="logistic_regression", terms=terms)

"""What is asked of every style: that passes reach what they can, leave the rest as it was, and files agree."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from helpers import same_weights

from tfshop.compression import QAT, Candidate, Prune
from tfshop.compression.roles import roles, unwrapped
from tfshop.data import Splits
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export, convert
from tfshop.layers import OutputRange
from tfshop.models.rebuild import inlined
from tfshop.runtime import count_zeros, read_graph

MODES = ("float32", "float16", "dynamic", "int8")
FLOAT_PARITY = 1e-5
RISING, AT_ONCE = Prune(0.5), Prune(0.5, schedule="one_shot", epochs=0)


@cache
def float_file(model: Any) -> bytes:
    """Of a network that both checks begin with."""
    return convert(model, "float32")


def check_exports(model: Any, log: Splits, modes: tuple[str, ...] = MODES) -> None:
    """Every mode gives a file that passes the audit; the float one agrees with Keras."""
    baseline = float_file(model)
    gap = audit_file(baseline, model, log, mode="float32").parity_gap_max
    assert gap <= FLOAT_PARITY
    for mode in modes[1:]:
        content = Export(mode, calibration_rows=512).to_bytes(model, log)
        audit_file(content, model, log, mode=mode, baseline=baseline)
        assert set(read_graph(content).inputs) == {tensor.name for tensor in model.inputs}


def check_passes(
    model: Any,
    log: Splits,
    treated: tuple[str, ...],
    rounded_too: tuple[str, ...] = (),
    prune: Prune = RISING,
) -> Any:
    """Prune and QAT in turn on what they can treat; the file has the zeros and the ranges. Returns the candidate.

    Prune treats kernels that QAT has no rule for too, such as those of attention: their zeros have to outlive QAT.
    `rounded_too` are vectors that QAT alone has a rule for: slopes with one scale.
    """
    before, start = model.get_weights(), inlined(model)
    prune.check(model, log.schema)
    pruned = prune.apply(Candidate(model, log.schema), log, seed=0)
    assert same_weights(model, before), "the model that came in was changed"
    reached = tuple(pruned.history[-1].notes["layers"])
    others = tuple(name for name in reached if roles(start)[name] == "other")
    assert tuple(name for name in reached if name not in others) == treated
    for name in reached:
        kernel = pruned.model.get_layer(name).get_weights()[0]
        assert abs((kernel == 0).mean() - 0.5) < 0.06, name
    check_the_rest_is_as_it_was(start, pruned, reached)
    QAT().check(pruned.model, log.schema)
    quantized = QAT().apply(pruned, log, seed=0)
    assert tuple(quantized.history[-1].notes["layers"]) == (*treated, *rounded_too)
    for name in rounded_too:
        (slopes,) = quantized.model.get_layer(name).get_weights()
        levels = slopes / (np.abs(slopes).max() / 127)
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    for name in treated:
        check_kernel_is_on_its_grid(quantized.model.get_layer(name), pruned.model.get_layer(name))
    for name in others:
        kernels = [candidate.model.get_layer(name).get_weights()[0] for candidate in (pruned, quantized)]
        assert not kernels[1][kernels[0] == 0].any(), name
    check_the_rest_is_as_it_was(start, quantized, (*treated, *rounded_too))
    content = Export("int8", calibration_rows=512).to_bytes(quantized.model, log)
    audit_file(content, quantized.model, log, mode="int8", baseline=float_file(model))
    dense = sum(unwrapped(quantized.model.get_layer(name)).kernel.shape.num_elements() for name in treated)
    assert count_zeros(content)[0] >= 0.45 * dense, "zeros are not in the bytes"
    return quantized


def check_kernel_is_on_its_grid(layer: Any, before: Any) -> None:
    """A range on the output or on what the converter makes one with it; 255 levels a channel; zeros kept."""
    bare = unwrapped(layer)
    readers = [type(unwrapped(node.layer)).__name__ for node in layer._outbound_nodes]
    lent = set(readers) & {"BatchNormalization", "Concatenate", "Activation", "ReLU", "TFOpLambda"}
    assert isinstance(layer, OutputRange) or lent, f"{layer.name} has no range"
    kernel = bare.get_weights()[0]
    scale = np.abs(kernel).max(axis=0) / 127
    levels = kernel / np.where(scale > 0, scale, 1)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    assert not kernel[before.get_weights()[0] == 0].any()


def check_the_rest_is_as_it_was(start: Any, candidate: Candidate, treated: tuple[str, ...]) -> None:
    """Layers with weights: none gone, none new, none of another shape; each untreated one listed with a reason."""
    shapes = {layer.name: [w.shape for w in layer.get_weights()] for layer in start.layers if layer.weights}
    after = {layer.name: [w.shape for w in layer.get_weights()] for layer in candidate.model.layers if layer.weights}
    assert after == shapes
    assert candidate.model.output_names == start.output_names
    rows = candidate.history[-1].notes["left_alone"]
    assert {row["layer"] for row in rows} == set(shapes) - set(treated)
    assert all(row["pass"] == candidate.history[-1].name and len(row["reason"]) > 20 for row in rows)

"""Follow units through a network: a walk over its calls, with a rule a class of layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any

from tfshop._keras import tf
from tfshop.compression.units import (
    rules_constants,
    rules_crosses,
    rules_fields,
    rules_histories,
    rules_shapes,
    rules_stock,
)
from tfshop.compression.units.constants import Constants
from tfshop.compression.units.following import Call, Followed, Product, Rule, Segments, WeightAxes, blank, unfollowed
from tfshop.compression.units.ledger import Axes, Ledger
from tfshop.models.rebuild import calls_in_order

RULES: Mapping[type, Rule] = MappingProxyType(
    {
        **rules_stock.RULES,
        **rules_shapes.RULES,
        **rules_fields.RULES,
        **rules_crosses.RULES,
        **rules_histories.RULES,
        **rules_constants.RULES,
    }
)

OF_OUTPUT = "it is an output of the network"
MASKS = ("mask", "attention_mask")  # arguments by which positions are left out, none of which is a zero to go


@dataclass(eq=False)
class Trace:
    """What goes with what in a network.

    Attributes:
        model: Functional model without submodels.
        ledger: Atoms and what they are tied to.
        layers: By name, what the rule says of a layer's first call.
        tensors: By the identity of the model's tensors, their entries.
        products: Multiplications of all calls.
        unfollowed: Layers without a rule that read floats, and why they stop the way.
        constants: Features in whose place constants stand, where layers cannot do without.
    """

    model: Any
    ledger: Ledger = field(default_factory=Ledger)
    constants: Constants = field(default_factory=Constants)
    layers: dict[str, Followed] = field(default_factory=dict)
    tensors: dict[int, Axes] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    unfollowed: dict[str, str] = field(default_factory=dict)

    def weights_of(self, name: str) -> tuple[WeightAxes, ...]:
        """Axes of a layer's weights; none where it keeps them whole."""
        return self.layers[name].weights if name in self.layers else ()


def follow(
    model: Any,
    *,
    columns: Mapping[str, Axes] | None = None,
    ledger: Ledger | None = None,
    constants: Constants | None = None,
    **options: Any,
) -> Trace:
    """Follow the units of every layer to all that they touch.

    Args:
        model: Functional model without submodels; left as it is.
        columns: Entries of inputs whose columns may go, by the input's name; by default every input stays whole.
        ledger: Where the atoms of `columns` were made.
        constants: Features in whose place constants may stand.
        **options: `with_tables=True` lets the width of tables change.

    References:
        Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023, whose groups are found here forward, for
        tensors whose elements belong to several things at once.
    """
    trace = Trace(model, ledger or Ledger(), constants or Constants())
    rows_of: dict[int, Segments] = {}
    for tensor in model.inputs:
        name = tensor._keras_history.layer.name
        trace.tensors[id(tensor)] = (columns or {}).get(name) or blank(tuple(tensor.shape[1:]))
    for node in calls_in_order(model):
        given, read = tf.nest.flatten(node.outputs), node.keras_inputs
        if (alone := trace.constants.alone(trace.ledger, [trace.tensors[id(tensor)] for tensor in read])) is not None:
            trace.tensors.update((id(tensor), (alone, *blank(tuple(tensor.shape[1:]))[1:])) for tensor in given)
            continue
        call = Call(
            node.layer,
            tuple(trace.tensors[id(tensor)] for tensor in read),
            _arguments(node),
            tuple(tuple(tensor.shape[1:]) for tensor in given),
            trace.ledger,
            rows_of=next((rows_of[id(tensor)] for tensor in read if id(tensor) in rows_of), None),
            reads_input=any(tensor is given_to for tensor in read for given_to in model.inputs),
            **options,
        )
        followed = _followed(trace, call, node)
        trace.tensors.update(zip(map(id, given), followed.outputs, strict=True))
        if followed.rows_of is not None:
            rows_of.update((id(tensor), followed.rows_of) for tensor in given)
    for tensor in model.outputs:
        trace.ledger.hold_axes(trace.tensors[id(tensor)], OF_OUTPUT)
    _hold_softmaxed(trace.ledger)
    return trace


def _arguments(node: Any) -> tuple[str, ...]:
    """For each tensor that a call reads, the argument it is given as: by keyword they come in the caller's order."""
    names = chain(node.layer._call_spec.arg_names, repeat(""))
    given = [*zip(names, node.call_args, strict=False), *node.call_kwargs.items()]
    return tuple(name for name, part in given for tensor in tf.nest.flatten(part) if hasattr(tensor, "_keras_history"))


def _followed(trace: Trace, call: Call, node: Any) -> Followed:
    """What the rule says; where it cannot do without a feature, what it says of a constant in its place."""
    ledger, constants = trace.ledger, trace.constants
    saved, held = (ledger.saved(), constants.held(ledger)) if constants.atoms else (None, frozenset())
    followed = _with_first_call(trace, call)
    if saved is not None and constants.are_needed(call, followed, held):
        restored = constants.restored(call, node)
        if restored is not None:
            ledger.rewind(saved)
            followed = _with_first_call(trace, restored)
        constants.note(call, held)
    trace.layers.setdefault(call.name, followed)
    trace.products += followed.products
    return followed


def _with_first_call(trace: Trace, call: Call) -> Followed:
    """What the rule says; what it says of a second call has to go with the first."""
    followed = _by_rule(trace, call)
    if call.name in trace.layers:
        _tie_calls(trace.ledger, call, trace.layers[call.name], followed)
    return followed


def _by_rule(trace: Trace, call: Call) -> Followed:
    for mask in filter(None, map(call.given_as, MASKS)):
        call.hold(*mask, reason="reads it as a mask")
    rule = RULES.get(type(call.layer))
    followed = rule(call) if rule is not None and call.inputs else None
    if followed is not None and _has_right_shapes(call, followed):
        return followed
    kind = type(call.layer).__name__
    reason = f"{call.name!r} ({kind}) reads it, and what {kind} does to single units is not known"
    if call.layer.weights:
        trace.unfollowed[call.name] = f"there is no rule for {kind}, set up as it is"
    return unfollowed(call, reason)


def _has_right_shapes(call: Call, followed: Followed) -> bool:
    """Whether a rule understood the call: axes of unknown length can be too many for it."""
    shapes = tuple(tuple(map(len, axes[1:])) for axes in followed.outputs)
    return shapes == tuple(tuple(length or 1 for length in shape) for shape in call.output_shapes)


def _tie_calls(ledger: Ledger, call: Call, first: Followed, again: Followed) -> None:
    """One layer called twice has one width, and one table all its rows."""
    pairs: list[tuple[Any, Any]] = [
        (one, other)
        for weight, other_weight in zip(first.weights, again.weights, strict=True)
        for one, other in zip(weight, other_weight, strict=True)
    ]
    if not first.weights:  # its configuration serves all calls
        pairs = [pair for axes in zip(first.outputs, again.outputs, strict=True) for pair in zip(*axes, strict=False)]
    for one, other in pairs:
        if not isinstance(one, tuple) or not isinstance(other, tuple):
            continue
        if len(one) == len(other):
            ledger.tie_axes(one, other, call.name)
        else:
            ledger.hold_axes((one, other), f"{call.name!r} is called with several lengths")
    for segments in (first.rows_of, again.rows_of):
        if segments is not None:
            segments.stays_whole = True


def _hold_softmaxed(ledger: Ledger) -> None:
    """A softmax changes what stays; experts are renormalised knowingly, nothing else is."""
    for atom in ledger.softmaxed:
        if ledger.kind(atom) not in ("expert", "feature"):
            ledger.hold(frozenset({atom}), "a softmax runs over it: without a unit, every other changes")

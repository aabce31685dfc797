"""Parts of a network's graph, run from whatever tensors are known already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfshop._keras import tf
from tfshop.models.rebuild import calls_in_order

Edit = Callable[[Any], Any]
Masked = tuple[Any, Any]  # a tensor and the mask that Keras hands on with it, or None


@dataclass(frozen=True, eq=False)
class Edits:
    """What takes the place of tensors while a graph is run.

    Attributes:
        read: By the layer that reads a tensor, and the tensor's key: for this reader alone.
        given: By key: for all that read it.
    """

    read: Mapping[tuple[str, str], Edit] = field(default_factory=dict)
    given: Mapping[str, Edit] = field(default_factory=dict)

    def as_read(self, layer: Any, values: Mapping[str, list[Any]]) -> Mapping[str, list[Any]]:
        """The values of which a layer takes what it reads."""
        edits = {tensor: edit for (name, tensor), edit in self.read.items() if name == layer.name and tensor in values}
        edited = {tensor: [_edited(value, edit) for value in values[tensor]] for tensor, edit in edits.items()}
        return {**values, **edited}

    def as_given(self, tensor: str, value: Any) -> Any:
        """What a layer gives."""
        return _edited(value, self.given[tensor]) if tensor in self.given else value


NO_EDITS = Edits()


class Graph:
    """Calls of a functional model's layers, by the tensors they read and give.

    Tensors go by `key(tensor)`, which is what Keras itself calls them.

    Args:
        model: Functional model without submodels.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.inputs = tuple(key(tensor) for tensor in model.inputs)
        self.outputs = tuple(key(tensor) for tensor in model.outputs)
        self._calls = tuple(calls_in_order(model))
        self._makers = {made: call for call in self._calls for made in call.flat_output_ids}

    @property
    def tensors(self) -> dict[str, Any]:
        """Every tensor that a layer gives, symbolic, by key."""
        return {key(tensor): tensor for call in self._calls for tensor in tf.nest.flatten(call.outputs)}

    def changed_by(self, variables: Sequence[Any]) -> set[str]:
        """Tensors that depend on some weights, in whatever layers and calls they are used."""
        wanted = {id(variable) for variable in variables}
        changed: set[str] = set()
        for call in self._calls:
            if wanted & {id(weight) for weight in call.layer.weights} or changed & set(call.flat_input_ids):
                changed |= set(call.flat_output_ids)
        return changed

    def cut_before(self, variables: Sequence[Any], storable: Collection[str]) -> set[str]:
        """Tensors from which everything that depends on some weights can be computed, and that do not depend on them.

        Args:
            variables: Weights of the model.
            storable: Tensors that can be kept row by row; the cut goes further back where one cannot.
        """
        changed = self.changed_by(variables)
        waiting = [read for call in self._calls if changed & set(call.flat_output_ids) for read in call.flat_input_ids]
        waiting += self.outputs
        cut: set[str] = set()
        while waiting:
            tensor = waiting.pop()
            if tensor in changed or tensor in cut:
                continue
            if tensor in self.inputs or tensor in storable:
                cut.add(tensor)
            else:
                waiting.extend(self._makers[tensor].flat_input_ids)
        return cut

    def calls_to(self, wanted: Iterable[str], known: Collection[str]) -> list[Any]:
        """Calls that compute the wanted tensors from the known ones, in order."""
        waiting = [tensor for tensor in wanted if tensor not in known]
        needed: set[int] = set()
        while waiting:
            call = self._makers[waiting.pop()]
            if id(call) not in needed:
                needed.add(id(call))
                waiting.extend(read for read in call.flat_input_ids if read not in known)
        return [call for call in self._calls if id(call) in needed]

    def run(self, known: Mapping[str, Masked], wanted: Sequence[str], edits: Edits = NO_EDITS) -> dict[str, Masked]:
        """Compute tensors as the model would with `training=False`.

        Args:
            known: Values and masks.
            wanted: Keys of tensors that the known ones lead to.
            edits: Of what layers read and give.
        """
        uses = self.model._tensor_usage_count
        found: dict[str, Any] = {}
        for tensor, (value, mask) in known.items():
            if mask is not None:
                value._keras_mask = mask
            found[tensor] = value
        reads = {tensor: [value] * uses[tensor] for tensor, value in found.items()}
        for call in self.calls_to(wanted, known):
            args, kwargs = call.map_arguments(edits.as_read(call.layer, reads))
            if call.layer._expects_training_arg and not call.layer._call_spec.arg_was_passed("training", args, kwargs):
                kwargs["training"] = False
            outputs = tf.nest.flatten(call.layer(*args, **kwargs))
            for tensor, value in zip(call.flat_output_ids, outputs, strict=True):
                found[tensor] = edits.as_given(tensor, value)
                reads[tensor] = [found[tensor]] * uses[tensor]
        return {tensor: (found[tensor], getattr(found[tensor], "_keras_mask", None)) for tensor in wanted}


def _edited(value: Any, edit: Edit) -> Any:
    """What takes the place of a tensor, with the mask that Keras hung on it."""
    made = edit(value)
    mask = getattr(value, "_keras_mask", None)
    if mask is not None:
        made._keras_mask = mask
    return made


def key(tensor: Any) -> str:
    """Name of a symbolic tensor, unique in its process."""
    return str(id(tensor))

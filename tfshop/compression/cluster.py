"""Weight sharing: few distinct numbers in each kernel, with TF-MOT's clustering underneath."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tfshop._keras import tf
from tfshop.compression._tfmot_clustering import INITIALIZATIONS, clusterable, clustered_weights, in_wrapper, refine
from tfshop.compression.candidate import OF_THE_NETWORK, WEIGHTS_ALIKE, Candidate, curve_of
from tfshop.compression.kernels import kernel_variables, kernels_of
from tfshop.compression.left_alone import has_matrix, left_alone
from tfshop.compression.masked import zeros_held
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import TABLE, calls_of, layers_with, require_known_roles, unwrapped
from tfshop.compression.teaching import fine_tuned, require_learners
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import copy_weights, fresh, inlined
from tfshop.training import FitSettings
from tfshop.training.adoption import require_copyable

CLUSTERABLE = ("dense", "cross", "table", "head", "other")
FEWEST, MOST = 3, 256  # zero, something above and something below it; what a byte can number


@dataclass(frozen=True)
class Cluster:
    """Let the weights of a kernel share a few numbers, which are trained with everything else.

    The file is not smaller, its gzip is: to about the bits that tell so many numbers apart. Zeros of an earlier Prune
    stay zeros, and zero is then one of the numbers. Exported as int8 a kernel keeps at most so many levels in each
    output channel, on the channel's own scale. The numbers of a frozen layer (`trainable=False`) stay where they start.

    Args:
        clusters: Distinct numbers in each kernel, 3 … 256.
        initialization: Where the numbers start: "kmeans++", "linear" between the smallest and the largest weight, or
            "density", as many weights to each. All are moved to the means of their weights before the training.
        roles: Which layers, by role: "dense", "cross", "table", "head", and "other" for bilinear products, experts and
            whatever names its kernels in `get_prunable_weights()`.
        epochs: Fine-tuning epochs; the best on validation is kept.
        learning_rate: Of the fine-tuning.
        distill: Whether the fine-tuning learns from the scores of the model that comes in beside the labels, so that
            it does not overfit.

    Raises:
        PlanError: At construction for a value out of range; in `check` where no layer can be treated.

    Example:
        >>> Cluster(16).clusters
        16

    References:
        Han, Mao & Dally, Deep Compression, ICLR 2016; the centroids are trained as in TF-MOT's `cluster_weights`.
    """

    name: ClassVar[str] = "Cluster"
    makes: ClassVar[tuple[str, ...]] = ("clusters",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "rows", "factors", *OF_THE_NETWORK)

    clusters: int = 16
    initialization: str = "kmeans++"
    roles: tuple[str, ...] = ("dense", "cross", "other")
    epochs: int = 1
    learning_rate: float = 5e-4
    distill: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        object.__setattr__(self, "makes", ("clusters", "rows") if TABLE in self.roles else ("clusters",))
        is_count = isinstance(self.clusters, int) and not isinstance(self.clusters, bool)
        if not is_count or not FEWEST <= self.clusters <= MOST:
            raise PlanError(f"clusters is {self.clusters!r}. Expected {FEWEST} … {MOST}. Fix: clusters=16.")
        if self.initialization not in INITIALIZATIONS:
            raise PlanError(
                f"initialization is {self.initialization!r}. Expected one of {', '.join(INITIALIZATIONS)}. "
                "Fix: initialization='kmeans++'."
            )
        require_known_roles(self.roles, wanted_by="Cluster", allowed=CLUSTERABLE)
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse models that have no layer to treat."""
        require_copyable(model, schema)
        flat = inlined(model)
        require_learners(flat, self.epochs, by=self.name)
        if not self._treated(flat):
            raise PlanError(
                f"Cluster finds no layer with role {', '.join(self.roles)} and a kernel of more than {self.clusters} "
                f"weights in {model.name!r}. Fix: Cluster(roles=…) with others of {', '.join(CLUSTERABLE)}, or leave "
                "Cluster out."
            )

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Wrap, train the shared numbers, and take the wrappers off."""
        model = inlined(candidate.model)
        names = self._treated(model)
        made: dict[str, Any] = {}

        def wrapped(layer: Any) -> Any:
            if layer.name not in names:
                return made.setdefault(layer.name, fresh(layer))
            wrapper = in_wrapper(layer, _shape_read(layer, model), self.clusters, self.initialization)
            return made.setdefault(layer.name, wrapper)

        trained = copy_model(model, wrapped)
        for name in names:
            refine(made[name])
        with zeros_held(trained, but=[made[name].name for name in names]):
            history = fine_tuned(
                trained, candidate.model, data, self, seed=seed, description=f"sharing {self.clusters} numbers"
            )
        plain = _stripped(model, made, names)
        notes = {
            "layers": list(names),
            "distinct_values": distinct_values(plain, names),
            "zeros_kept_in": [name for name in names if made[name].preserve_sparsity],
            "left_alone": left_alone(model, names, by=self.name, reason=partial(self._reason, model)),
            "fit": history.to_dict(),
        }
        return candidate.advance(self, plain, notes=notes, curve=curve_of(history))

    def _treated(self, model: Any) -> tuple[str, ...]:
        return tuple(n for n in layers_with(model, self.roles) if not self.obstacle(model.get_layer(n), model))

    def obstacle(self, layer: Any, model: Any) -> str:
        """Why a layer cannot be treated, whatever its role; empty where it can."""
        bare = unwrapped(layer)
        kernels = kernel_variables(bare)
        if not kernels and has_matrix(bare):
            kind = type(bare).__name__
            return f"Cluster knows no kernel of {kind}; a layer names its own in get_prunable_weights()"
        if not kernels:
            return "its weights are vectors, of which every number counts"
        if not clusterable(bare) or any(
            len(call.call_args) != 1 or call.call_kwargs for call in calls_of(layer, model)
        ):
            return f"TF-MOT's wrapper cannot hold {type(bare).__name__}"
        if any(np.count_nonzero(variable.numpy()) <= self.clusters for variable in kernels):
            return f"it has no more than {self.clusters} weights that are not zero"
        return ""

    def first_weights(self, layer: Any, model: Any) -> list[np.ndarray]:
        """Weights of a layer as the training of the shared numbers begins with them."""
        shape = _shape_read(layer, model)
        wrapper = in_wrapper(unwrapped(layer), shape, self.clusters, self.initialization)
        wrapper.build(shape)
        refine(wrapper)
        return clustered_weights(wrapper)

    def _reason(self, model: Any, layer: Any, role: str) -> str:
        if role not in self.roles:
            return f"its role is {role!r}; Cluster was asked for {', '.join(self.roles)}"
        return self.obstacle(model.get_layer(layer.name), model)


def _shape_read(layer: Any, model: Any) -> Any:
    (read,) = calls_of(layer, model)[0].call_args
    return tf.nest.map_structure(lambda tensor: tensor.shape, read)


def distinct_values(model: Any, names: Sequence[str]) -> dict[str, int]:
    """How many different numbers each kernel of the named layers holds."""
    return {name: len(np.unique(kernel.variable.numpy())) for name, kernel in kernels_of(model, names).items()}


def _stripped(model: Any, made: Mapping[str, Any], names: Collection[str]) -> Any:
    """The plain model with the trained weights."""
    plain = copy_model(model)
    for name, layer in made.items():
        if name in names:
            plain.get_layer(name).set_weights(clustered_weights(layer))
        else:
            copy_weights(layer, plain.get_layer(name))
    return plain

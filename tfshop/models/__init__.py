"""Click networks: one a file, one row each in `MODELS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.models.afm import build_afm
from tfshop.models.autoint import build_autoint
from tfshop.models.bst import build_bst
from tfshop.models.dcn import build_dcn
from tfshop.models.dcn_mix import build_dcn_mix
from tfshop.models.dcn_vector import build_dcn_vector
from tfshop.models.deepfm import build_deepfm
from tfshop.models.dien import build_dien
from tfshop.models.din import build_din
from tfshop.models.dlrm import build_dlrm
from tfshop.models.edcn import build_edcn
from tfshop.models.esmm import build_esmm
from tfshop.models.ffm import build_ffm
from tfshop.models.fibinet import build_fibinet
from tfshop.models.finalmlp import build_finalmlp
from tfshop.models.fm import build_fm
from tfshop.models.fnn import build_fnn
from tfshop.models.foreign import load_model
from tfshop.models.fwfm import build_fwfm
from tfshop.models.gdcn import build_gdcn
from tfshop.models.keras3 import weights_from_keras3
from tfshop.models.logistic_regression import build_logistic_regression
from tfshop.models.masknet import build_masknet
from tfshop.models.mean_pooling import build_mean_pooling
from tfshop.models.mlp import build_mlp
from tfshop.models.mmoe import build_mmoe
from tfshop.models.nfm import build_nfm
from tfshop.models.ple import build_ple
from tfshop.models.pnn import build_pnn
from tfshop.models.shared_bottom import build_shared_bottom
from tfshop.models.two_tower import build_two_tower
from tfshop.models.wide_deep import build_wide_deep
from tfshop.models.xdeepfm import build_xdeepfm

Builder = Callable[..., Any]

MODELS: Mapping[str, Builder] = MappingProxyType(
    {
        "logistic_regression": build_logistic_regression,
        "fm": build_fm,
        "fwfm": build_fwfm,
        "ffm": build_ffm,
        "afm": build_afm,
        "nfm": build_nfm,
        "pnn": build_pnn,
        "fnn": build_fnn,
        "wide_deep": build_wide_deep,
        "deepfm": build_deepfm,
        "mlp": build_mlp,
        "dcn_vector": build_dcn_vector,
        "dcn": build_dcn,
        "dcn_mix": build_dcn_mix,
        "xdeepfm": build_xdeepfm,
        "autoint": build_autoint,
        "fibinet": build_fibinet,
        "dlrm": build_dlrm,
        "finalmlp": build_finalmlp,
        "gdcn": build_gdcn,
        "masknet": build_masknet,
        "edcn": build_edcn,
        "mean_pooling": build_mean_pooling,
        "din": build_din,
        "dien": build_dien,
        "bst": build_bst,
        "two_tower": build_two_tower,
        "shared_bottom": build_shared_bottom,
        "esmm": build_esmm,
        "mmoe": build_mmoe,
        "ple": build_ple,
    }
)

SEVERAL_TARGETS = ("shared_bottom", "esmm", "mmoe", "ple")  # these want a schema of several, the others of one


def known_hyperparameters(name: str) -> tuple[str, ...]:
    """Names of what the builder of a network takes beside the schema.

    Raises:
        ModelError: For an unknown name.

    Example:
        >>> known_hyperparameters("mlp")
        ('dimension', 'hidden', 'dropout')
    """
    if name not in MODELS:
        raise ModelError(
            f"no network is called {name!r}. Expected one of {', '.join(MODELS)}. Fix: build_model('mlp', …)."
        )
    return tuple(key for key in inspect.signature(MODELS[name]).parameters if key != "schema")


def build_model(name: str, schema: Schema, *, seed: int = 0, **hyperparameters: Any) -> Any:
    """Build one of the networks in `MODELS`, the same weights for the same seed.

    Args:
        name: A key of `MODELS`.
        schema: Fitted schema, as `prepare` returns it in `data.schema`.
        seed: Seed of the initial weights.
        **hyperparameters: As the builder's own function takes them: `dimension`, `hidden`, `dropout` …

    Returns:
        Functional tf_keras model; inputs as `schema.input_specs()`, output `probability` float32 (batch, 1); of
        several targets a list of outputs `probability_<target>` in their order.

    Raises:
        ModelError: For an unknown name or hyperparameter.

    Example:
        >>> from tfshop.data.datasets import synthetic
        >>> build_model("mlp", synthetic(1000).schema, dimension=8, hidden=(64, 32)).output_shape
        (None, 1)
    """
    known = known_hyperparameters(name)
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise ModelError(f"{name} has no hyperparameter {', '.join(unknown)}. Expected some of {', '.join(known)}.")
    dimension = hyperparameters.get("dimension", 1)
    if not isinstance(dimension, int) or dimension < 1:
        raise ModelError(f"dimension is {dimension!r}. Expected an integer of at least 1. Fix: dimension=16.")
    keras.utils.set_random_seed(seed)
    return MODELS[name](schema, **hyperparameters)


__all__ = [
    "MODELS",
    "SEVERAL_TARGETS",
    "build_afm",
    "build_autoint",
    "build_bst",
    "build_dcn",
    "build_dcn_mix",
    "build_dcn_vector",
    "build_deepfm",
    "build_dien",
    "build_din",
    "build_dlrm",
    "build_edcn",
    "build_esmm",
    "build_ffm",
    "build_fibinet",
    "build_finalmlp",
    "build_fm",
    "build_fnn",
    "build_fwfm",
    "build_gdcn",
    "build_logistic_regression",
    "build_masknet",
    "build_mean_pooling",
    "build_mlp",
    "build_mmoe",
    "build_model",
    "build_nfm",
    "build_ple",
    "build_pnn",
    "build_shared_bottom",
    "build_two_tower",
    "build_wide_deep",
    "build_xdeepfm",
    "known_hyperparameters",
    "load_model",
    "weights_from_keras3",
]

"""Recipes: named functions that return plans, as plain data that can be printed, changed and saved.

Example:
    >>> from tfshop import recipes
    >>> recipes.int8().exporter.mode
    'int8'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tfshop.compression import QAT, Cluster, Distill, Prune, TuneTables
from tfshop.export import Export, Plan, chain
from tfshop.tables import Int2

TWO_BITS = Int2("field", grid="mid-rise")


def float16() -> Plan:
    """Weights in float16: half the size, hardly any loss, no faster."""
    return chain(Export("float16"))


def int8() -> Plan:
    """Quantize after training: no training at all, a quarter of the size, faster."""
    return chain(Export("int8"))


def qat_int8() -> Plan:
    """One epoch of training with int8's rounding, then int8."""
    return chain(QAT(), Export("int8"))


def prune_int8(sparsity: float = 0.8) -> Plan:
    """Zero most weights of the dense layers, then int8: a smaller download, not a faster file."""
    return chain(Prune(sparsity), Export("int8"))


def distill_int8(hidden: tuple[int, ...] = (100, 100, 100), dimension: int = 16) -> Plan:
    """A student of the same family with other hyperparameters, then int8."""
    return chain(Distill({"dimension": dimension, "hidden": hidden}), Export("int8"))


def fast(width: int = 64) -> Plan:
    """A student of the same make with at most `width` units a layer, then int8; of any network, tables as they are."""
    return chain(Distill(shrink={"width": width}), Export("int8"))


def tiny(width: int = 64, dimension: int = 8, codec: Any = TWO_BITS, teachers: tuple[Any, ...] = ()) -> Plan:
    """The smallest file: a student of at most `width` units a layer, tables in two bits a number that learn, int8.

    Args:
        width: Most units of a hidden layer.
        dimension: Width of the widest table.
        codec: Of the tables; or by feature, such as one bit a number for the one that has most rows.
        teachers: More networks beside the one that comes in; three rank better than one.
    """
    student = Distill(shrink={"width": width, "dimension": dimension}, teachers=teachers)
    return chain(student, TuneTables(codec, teachers=teachers), Export("int8"))


def small_download(sparsity: float = 0.8, clusters: int = 16) -> Plan:
    """Prune, let the weights that are left share a few numbers, then int8: little is left after gzip; no faster."""
    return chain(Prune(sparsity), Cluster(clusters), Export("int8"))


def careful(max_auc_drop: float = 1e-4) -> Plan:
    """Two ways to lose nothing, the better on validation kept: QAT, and int8 whose costly layers stay in float.

    Layers are quantized one at a time; those that move the scores most stay in float until no more than
    `max_auc_drop` of validation AUC is lost.
    """
    return chain(QAT(), Export("int8", mixed={"max_auc_drop": max_auc_drop}))


def classic(sparsity: float = 0.8) -> Plan:
    """`prune_int8` by the name of its order: prune, fine-tune, quantize, as Deep Compression has it."""
    return prune_int8(sparsity)


RECIPES: Mapping[str, Callable[[], Plan]] = MappingProxyType(
    {
        "float16": float16,
        "int8": int8,
        "qat_int8": qat_int8,
        "prune_int8": prune_int8,
        "distill_int8": distill_int8,
        "fast": fast,
        "tiny": tiny,
        "small_download": small_download,
        "careful": careful,
        "classic": classic,
    }
)

__all__ = [
    "RECIPES",
    "careful",
    "classic",
    "distill_int8",
    "fast",
    "float16",
    "int8",
    "prune_int8",
    "qat_int8",
    "small_download",
    "tiny",
]

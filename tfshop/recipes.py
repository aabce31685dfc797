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

from tfshop.compression import QAT, AllocateTables, Cluster, Distill, Prune, TuneTables
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain
from tfshop.tables import Int2

TWO_BITS = Int2("field", grid="mid-rise")
TINY_BYTES = 0.045  # 1.4 bits a number
NARROW_EPOCHS = 5  # of a student, which take about as long as two of the network
TINY_RATE = 2e-3  # of the tuning
TINY_LOOKUP = 0  # on earlier weeks, bits by worth ranked better after tuning than one codec for more fields
EIGHT_BITS = 8


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
    """Zero most weights of the dense layers, then int8: a smaller download, not a faster file.

    Args:
        sparsity: Share of zeros in each kernel, in [0, 1).

    Returns:
        `Prune`, then `Export("int8")`.

    Example:
        >>> prune_int8(0.9).passes[0].sparsity
        0.9
    """
    return chain(Prune(sparsity), Export("int8"))


def distill_int8(hidden: tuple[int, ...] = (100, 100, 100), dimension: int = 16) -> Plan:
    """A student of the same family with other hyperparameters, then int8.

    Args:
        hidden: Units of the student's hidden layers.
        dimension: Width of the student's tables.

    Returns:
        `Distill`, then `Export("int8")`.

    Example:
        >>> distill_int8((64, 32), dimension=8).passes[0].student
        {'dimension': 8, 'hidden': (64, 32)}
    """
    return chain(Distill({"dimension": dimension, "hidden": hidden}), Export("int8"))


def fast(
    width: int = 48,
    depth: int = 2,
    dimension: int | None = 8,
    crosses: int = 1,
    without: tuple[str, ...] = (),
) -> Plan:
    """A student of the same make that reads ids as unknown at random, then int8; of any network.

    Args:
        width: Most units of a hidden layer.
        depth: Most hidden layers of a tower.
        dimension: Width of the widest table; None leaves tables as they are.
        crosses: Most crosses of a network of ours, which weigh more than its tower.
        without: Features that the student does without. Each position of a history is a lookup: once the network is
            small, a history that tells little takes more time than all of the rest. `feature_effects` says what each
            feature tells.

    Example:
        >>> fast(without=("history",)).passes[0].shrink
        {'width': 48, 'depth': 2, 'crosses': 1, 'dimension': 8}
    """
    shrink = {"width": width, "depth": depth, "crosses": crosses}
    if dimension is not None:
        shrink["dimension"] = dimension
    student = Distill(shrink=shrink, epochs=NARROW_EPOCHS, without=without, unknown_ids=True)
    return chain(student, Export("int8"))


def tiny(
    width: int = 64,
    depth: int = 2,
    dimension: int = 8,
    codec: Any = None,
    max_bytes: float | int | None = None,
    teachers: tuple[Any, ...] = (),
    bits: int = 8,
) -> Plan:
    """The smallest file: a student, tables of about a bit a number where bits are worth least, tuned, then int8.

    The student reads ids as unknown at random, as often as validation has ids that training does not know.

    Args:
        width: Most units of a hidden layer.
        depth: Most hidden layers of a tower, and most crosses of a network of ours.
        dimension: Width of the widest table.
        codec: Of the tables, such as `TWO_BITS`, or by feature. None spreads `max_bytes` over the fields by their
            worth.
        max_bytes: Of the student's tables, as `AllocateTables` has it; by default 1.4 bits a number.
        teachers: More networks beside the one that comes in; three rank better than one.
        bits: Of the kernels. With 4 or 2 an epoch more trains with their rounding, as `QAT` does, and the file stores
            them in half a byte each, for apps whose runtime knows version 10 of FULLY_CONNECTED.

    Raises:
        PlanError: For a codec and a budget at once, and for other bits.

    Example:
        >>> [step.name for step in tiny().passes], tiny(codec=TWO_BITS).passes[1].name
        (['Distill', 'AllocateTables', 'TuneTables'], 'TuneTables')
    """
    if codec is not None and max_bytes is not None:
        raise PlanError("tiny was given a codec and max_bytes. Expected one of the two. Fix: leave max_bytes out.")
    shrink = {"width": width, "depth": depth, "dimension": dimension}
    share = TINY_BYTES if max_bytes is None else max_bytes
    uneven = () if codec is not None else (AllocateTables(max_bytes=share, lookup_bytes=TINY_LOOKUP),)
    tuned = TuneTables(codec, learning_rate=TINY_RATE, teachers=teachers)
    rounded = () if bits == EIGHT_BITS else (QAT(bits=bits),)
    student = Distill(shrink=shrink, epochs=NARROW_EPOCHS, teachers=teachers, unknown_ids=True)
    return chain(student, *uneven, tuned, *rounded, Export("int8", strip=True, int4=bits < EIGHT_BITS))


def small_download(sparsity: float = 0.8, clusters: int = 16) -> Plan:
    """Prune, let the weights that are left share a few numbers, then int8: little is left after gzip; no faster.

    Args:
        sparsity: Share of zeros in each kernel, in [0, 1).
        clusters: Distinct numbers in each kernel, 3 … 256, zero among them.

    Returns:
        `Prune`, `Cluster`, then `Export("int8")`.

    Example:
        >>> [step.name for step in small_download(0.9).passes]
        ['Prune', 'Cluster']
    """
    return chain(Prune(sparsity), Cluster(clusters), Export("int8"))


def careful(max_auc_drop: float = 1e-4) -> Plan:
    """Two ways to lose nothing, the better on validation kept: QAT, and int8 whose costly layers stay in float.

    Layers are quantized one at a time; those that move the scores most stay in float until no more than
    `max_auc_drop` of validation AUC is lost.

    Args:
        max_auc_drop: Of validation, that int8 may lose before layers stay in float.

    Returns:
        `QAT`, then `Export("int8", mixed=…)`.

    Example:
        >>> careful(0.0005).exporter.mixed
        {'max_auc_drop': 0.0005}
    """
    return chain(QAT(), Export("int8", mixed={"max_auc_drop": max_auc_drop}))


def classic(sparsity: float = 0.8) -> Plan:
    """`prune_int8` by the name of its order: prune, fine-tune, quantize, as Deep Compression has it.

    Args:
        sparsity: Share of zeros in each kernel, in [0, 1).

    Returns:
        `Prune`, then `Export("int8")`.

    Example:
        >>> classic() == prune_int8()
        True

    References:
        Han, Mao & Dally, Deep Compression, ICLR 2016.
    """
    return prune_int8(sparsity)


RECIPES: Mapping[str, Callable[..., Plan]] = MappingProxyType(
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

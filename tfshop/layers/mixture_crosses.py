"""Low-rank crosses of DCN V2, a gated mixture of experts each."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.layers.crosses import CROSS_PREFIX
from tfshop.layers.experts import ExpertKernels, GatedExperts


def mixture_cross_stack(x0: Any, num_crosses: int, *, num_experts: int, rank: int) -> Any:
    r"""Stack of `x_{l+1} = \sum_i G_i(x_l) \, x_0 \odot (U_i g(C_i g(V_i x_l)) + b_l) + x_l` with `g = tanh`.

    `G` is a softmax over the experts, so it adds up to one. Hence all `U_i` are one kernel that reads the gated experts
    side by side, as all `V_i` are one that writes them: two dense layers a cross however many experts there are, and
    small kernels `C_i` between them.

    Args:
        x0: float32 (batch, width).
        num_crosses: How many; the degree of the polynomial is one more.
        num_experts: Experts of each cross.
        rank: Width of an expert.

    Returns:
        float32 (batch, width).

    References:
        Wang et al., DCN V2, WWW 2021, section 3.3.
    """
    crossed = x0
    for level in range(num_crosses):
        name = f"{CROSS_PREFIX}_{level}"
        experts = _experts(crossed, name, num_experts, rank)
        projected = keras.layers.Dense(x0.shape[-1], name=f"{name}_kernel")(experts)
        product = keras.layers.Multiply(name=f"{name}_product")([x0, projected])
        crossed = keras.layers.Add(name=f"{name}_residual")([product, crossed])
    return crossed


def _experts(crossed: Any, name: str, num_experts: int, rank: int) -> Any:
    """Gated experts side by side, float32 (batch, num_experts * rank)."""
    reduced = keras.layers.Dense(num_experts * rank, activation="tanh", name=f"{name}_reduced")(crossed)
    experts = ExpertKernels(num_experts, "tanh", name=f"{name}_experts")(reduced)
    if num_experts == 1:
        return experts
    gates = keras.layers.Dense(num_experts, activation="softmax", name=f"{name}_gate")(crossed)
    return GatedExperts(name=f"{name}_gated")([experts, gates])

"""Normalization in transformers: of tokens, embeddings, queries and keys, and a tanh that replaces a norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input, check_parameters
from normviz.registry import Range, normalization

__all__ = ["dynamic_tanh", "fix_norm", "ngpt_step", "qk_norm", "scale_norm", "unit_rows"]

_AXES = {"nc": "n c -> n", "ntd": "n t d -> n t"}


@normalization(
    title="ScaleNorm",
    cite="nguyen2019scalenorm",
    aliases=("scaled L2 normalization",),
    axes=_AXES,
    formula=r"y = g\,\frac{x}{\max(\lVert x \rVert_2, \epsilon)}, \quad g \text{ starts at } \sqrt{D}",
    scale="norm",
    use="A replacement for layer norm in a transformer with a single learned scale.",
    torch="g * F.normalize(x, dim=-1, eps=eps)",
    common_mistake="F.normalize uses dim=1 by default, which normalizes across the tokens of (N, T, D): pass dim=-1.",
)
def scale_norm(
    x: Tensor,
    g: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Scale every token to the same L2 norm, a single learned number.

    Args:
        x: (N, C) or (N, T, D).
        g: the norm of the result, a scalar tensor, or None for its initial value, the square root of the number of
            features; each layer has its own g.
        eps: the smallest divisor.

    Returns:
        The tokens with norm g, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Nguyen & Salazar 2019, Section 2 (ScaleNorm); eps as in the authors' code.
    """
    _check_tokens("scale_norm", x, g)
    return _with_norm(x, math.sqrt(x.shape[-1]) if g is None else g, eps)  # shape of x


@normalization(
    title="FixNorm",
    cite="nguyen2018fixnorm",
    aliases=("fixed-length word embeddings",),
    axes=_AXES,
    formula=r"y = g\,\frac{w}{\max(\lVert w \rVert_2, \epsilon)}",
    scale="norm",
    use="For word embeddings, so that rare words are not penalized for their short vectors.",
    torch="g * F.normalize(x, dim=-1, eps=eps)",
    common_mistake="It belongs on the embeddings and on the output layer that shares them; inside the network use "
    "ScaleNorm.",
)
def fix_norm(
    x: Tensor,
    g: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-12,
) -> Tensor:
    """Scale every word embedding to the same L2 norm.

    Args:
        x: embeddings, (V, D) of a vocabulary or (N, T, D) of texts.
        g: the norm of the result, a scalar tensor, or None for 1.
        eps: the smallest divisor.

    Returns:
        The embeddings with norm g, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Nguyen & Chiang 2018, Section 4, which also normalizes the context vector; see also Nguyen & Salazar 2019.
    """
    _check_tokens("fix_norm", x, g)
    return _with_norm(x, 1.0 if g is None else g, eps)  # shape of x


@normalization(
    title="Dynamic Tanh",
    cite="zhu2025dyt",
    aliases=("DyT", "transformers without normalization"),
    axes={"nc": None, "ntd": None, "nchw": None, "ncdhw": None},
    formula=r"y = \gamma_c \tanh(\alpha x) + \beta_c",
    use="A replacement for layer norm in a transformer without statistics: each value is squashed separately.",
    torch="torch.tanh(alpha * x) * weight[:, None, None] + bias[:, None, None]",
    common_mistake="Nothing is normalized: the output depends on the scale of the input, so alpha must match the data.",
)
def dynamic_tanh(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    alpha: Annotated[float, Range(0.01, 10.0, symbol=r"\alpha", log=True)] = 0.5,
) -> Tensor:
    """Apply a scaled tanh to every value, without mean or variance.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two position axes.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        alpha: the slope of the tanh; learned in the paper, initially 0.5.

    Returns:
        The activations after the tanh, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Zhu et al. 2025, Section 4 (Dynamic Tanh).
    """
    check_input("dynamic_tanh", x)
    channel = 2 if x.ndim == 3 else 1
    check_parameters("dynamic_tanh", (x.shape[channel],), weight=weight, bias=bias)
    values = at_least_float32(x)  # shape of x
    falling = (values * (-2 * alpha)).sigmoid_()  # shape of x; tanh(z) = 1 - 2 sigmoid(-2 z), a faster kernel than tanh
    along = [-1 if axis == channel else 1 for axis in range(x.ndim)]
    gamma = (values.new_ones(x.shape[channel]) if weight is None else weight.to(values.dtype)).view(along)  # (C, 1, 1)
    beta = (values.new_zeros(x.shape[channel]) if bias is None else bias.to(values.dtype)).view(along)  # (C, 1, 1)
    if falling.requires_grad or gamma.requires_grad or beta.requires_grad:
        return (falling * (-2 * gamma) + (beta + gamma)).to(x.dtype)  # shape of x
    return falling.mul_(-2 * gamma).add_(beta + gamma).to(x.dtype)  # shape of x, without a second tensor of its size


@normalization(
    title="Query-Key Normalization",
    cite="henry2020qknorm",
    aliases=("QKNorm", "QK-Norm"),
    acts_on="blocks",
    formula=r"\operatorname{softmax}\left(g\,\hat Q \hat K^\top\right) V, \quad \hat q = \frac{q}{\lVert q \rVert_2},"
    r"\ \hat k = \frac{k}{\lVert k \rVert_2}, \quad g_0 = \log_2(L^2 - L)",
    use="In attention with scores that grow until each token attends to a single other token.",
    torch="F.scaled_dot_product_attention(g * F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, scale=1)",
    common_mistake="The scale argument of scaled_dot_product_attention is a number, not a learned tensor: multiply q "
    "by g and pass scale=1.",
)
def qk_norm(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None) -> Tensor:
    """Attention by the cosine similarity of queries and keys, multiplied by a learned scale g.

    Args:
        q: the queries, (..., L, D).
        k: the keys, (..., S, D).
        v: the values, (..., S, E).
        g: the scale of the scores, a scalar tensor, or None for its initial value for sequences of length S.

    Returns:
        The attended values, (..., L, E).

    Raises:
        ValueError: incompatible shapes, or a single key without g.

    Source:
        Henry et al. 2020, Section 3.
    """
    for tensor in (q, k, v):
        check_input("qk_norm", tensor)
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            "qk_norm needs q (..., L, D), k (..., S, D) and v (..., S, E); "
            f"received {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        )
    _check_scalar("qk_norm", g)
    length = k.shape[-2]
    if g is None and length < 2:
        raise ValueError(f"qk_norm needs at least 2 keys to initialize g; received {length}: pass g")
    scale = math.log2(length**2 - length) if g is None else g
    return F.scaled_dot_product_attention(scale * F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, scale=1.0)


@normalization(
    title="nGPT",
    cite="loshchilov2024ngpt",
    aliases=("normalized transformer", "normalized GPT"),
    acts_on="blocks",
    formula=r"h \leftarrow n\big(h + \alpha\,(n(f(h)) - h)\big), \quad n(x) = \frac{x}{\lVert x \rVert_2}",
    use="In a transformer with all vectors on the unit sphere: each layer rotates them towards its output.",
    torch="F.normalize(h + alpha * (F.normalize(f(h), dim=-1) - h), dim=-1)",
    common_mistake="The step alone is not enough: weights and embeddings must also be normalized after each training "
    "step.",
)
def ngpt_step(
    h: Tensor,
    f: Callable[[Tensor], Tensor],
    alpha: Annotated[float, Range(0.0, 1.0, symbol=r"\alpha")] = 0.05,
) -> Tensor:
    """Move every token on the unit sphere towards the normalized output of a layer.

    Args:
        h: (N, D) or (N, T, D), tokens with L2 norm 1.
        f: the layer, attention or MLP; the output has the shape of `h`.
        alpha: the step size: 0 keeps the token, 1 returns the output; learned per feature in the paper, initially 0.05.

    Returns:
        The next tokens, with L2 norm 1, shape of `h`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Loshchilov et al. 2024, Eqs. 10 and 11.
    """
    check_input("ngpt_step", h)
    target = F.normalize(f(h), dim=-1)  # shape of h
    return F.normalize(h + alpha * (target - h), dim=-1)  # shape of h


def unit_rows(weight: Tensor, dim: int = -1) -> Tensor:
    """Normalize the vectors of a weight or an embedding, as nGPT does after each training step.

    Args:
        weight: (out, in) or any other shape.
        dim: the embedding axis: -1 for weights that are applied to tokens, 0 for weights that produce tokens.

    Returns:
        The unit vectors, shape of `weight`.

    Source:
        Loshchilov et al. 2024, Section 2.6, step 2.
    """
    return F.normalize(weight, dim=dim)  # shape of weight


def _with_norm(x: Tensor, g: Tensor | float, eps: float) -> Tensor:
    """Scale every token to L2 norm g, in one pass over memory."""
    gain: Tensor = g / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(eps)  # (N, 1) or (N, T, 1)
    return x * gain  # shape of x


def _check_tokens(name: str, x: Tensor, g: Tensor | None) -> None:
    check_input(name, x)
    if x.ndim > 3:
        raise ValueError(f"{name} needs tokens (N, C) or (N, T, D); received shape {tuple(x.shape)}: flatten it first")
    _check_scalar(name, g)


def _check_scalar(name: str, g: Tensor | None) -> None:
    if g is not None and g.numel() != 1:
        raise ValueError(f"{name} needs g to be a scalar; received shape {tuple(g.shape)}")

"""Residual blocks with a norm before, after or around a layer, and blocks without a norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.normalization.methods.batch import batch_norm
from normviz.registry import Range, normalization

__all__ = [
    "ada_layer_norm_zero",
    "deep_norm",
    "norm_placement",
    "normalizer_free_block",
    "post_norm",
    "pre_norm",
    "sandwich_norm",
]

Layer = Callable[[Tensor], Tensor]

_LN = r", \quad \mathrm{LN}(z) = \gamma\,\frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta"
_BN = r", \quad \mathrm{BN}(z) = \frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}}"


@normalization(
    title="Post-LN",
    cite="vaswani2017attention",
    aliases=("post-layer normalization", "PostNorm", "post-norm residual"),
    acts_on="blocks",
    formula=r"y = \mathrm{LN}(x + f(x))" + _LN,
    use="The norm of the first transformers; shallow networks train well with it if the learning rate is warmed up.",
    torch="F.layer_norm(x + f(x), x.shape[-1:], weight, bias, eps)",
    common_mistake="nn.TransformerEncoderLayer uses this placement unless norm_first=True is passed, and deep "
    "networks then need a warm-up.",
)
def post_norm(
    x: Tensor,
    f: Layer,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Add the output of a layer to its input, then normalize the sum.

    Args:
        x: (N, D) or (N, T, D).
        f: the layer, attention or MLP; the output has the shape of `x`.
        weight: (D,), the scale gamma, or None for 1.
        bias: (D,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The output of the block, shape of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Vaswani et al. 2017, Section 3.1.
    """
    return _layer_norm("post_norm", x + f(x), weight, bias, eps)  # shape of x


@normalization(
    title="Pre-LN",
    cite="xiong2020layer",
    aliases=("pre-layer normalization", "PreNorm", "pre-norm residual"),
    acts_on="blocks",
    formula=r"y = x + f(\mathrm{LN}(x))" + _LN,
    use="In deep transformers: the residual path carries the gradient to every layer, so no warm-up is needed.",
    torch="x + f(F.layer_norm(x, x.shape[-1:], weight, bias, eps))",
    common_mistake="The residual sum is never normalized and grows with depth: add one more norm after the last block.",
)
def pre_norm(
    x: Tensor,
    f: Layer,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize the input of a layer, and add the output to the original input.

    Args:
        x: (N, D) or (N, T, D).
        f: the layer, attention or MLP; the output has the shape of `x`.
        weight: (D,), the scale gamma, or None for 1.
        bias: (D,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The output of the block, shape of `x`; a network needs one more layer norm after the last block.

    Raises:
        ValueError: an invalid shape.

    Source:
        Xiong et al. 2020, Section 3 and Table 1.
    """
    return x + f(_layer_norm("pre_norm", x, weight, bias, eps))  # shape of x


@normalization(
    title="Sandwich-LN",
    cite="ding2021cogview",
    aliases=("sandwich norm", "Peri-LN", "peri-layer normalization"),
    acts_on="blocks",
    formula=r"y = x + \mathrm{LN}'\big(f(\mathrm{LN}(x))\big)" + _LN,
    use="In large transformers in half precision: the output of each layer is bounded before it is added.",
    torch="x + F.layer_norm(f(F.layer_norm(x, x.shape[-1:], weight, bias, eps)), x.shape[-1:], out_weight, out_bias,"
    " eps)",
    common_mistake="The second norm costs time, and large values return if its gamma grows.",
)  # fmt: skip
def sandwich_norm(
    x: Tensor,
    f: Layer,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    out_weight: Tensor | None = None,
    out_bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize both the input and the output of a layer, then add.

    Args:
        x: (N, D) or (N, T, D).
        f: the layer, attention or MLP; the output has the shape of `x`.
        weight: (D,), gamma of the norm before the layer, or None for 1.
        bias: (D,), beta of the norm before the layer, or None for 0.
        out_weight: (D,), gamma of the norm after the layer, or None for 1.
        out_bias: (D,), beta of the norm after the layer, or None for 0.
        eps: added to both variances under the square root.

    Returns:
        The output of the block, shape of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Ding et al. 2021, Section 2.4 (Sandwich-LN); Kim et al. 2025 (Peri-LN).
    """
    output = f(_layer_norm("sandwich_norm", x, weight, bias, eps))  # shape of x
    return x + _layer_norm("sandwich_norm", output, out_weight, out_bias, eps)  # shape of x


@normalization(
    title="DeepNorm",
    cite="wang2022deepnet",
    aliases=("DeepNet",),
    acts_on="blocks",
    formula=r"y = \mathrm{LN}(\alpha x + f(x)), \quad \alpha = (2N)^{1/4}" + _LN,
    use="In very deep transformers (up to 1,000 layers) with the norm after the sum.",
    torch="F.layer_norm(alpha * x + f(x), x.shape[-1:], weight, bias, eps)",
    common_mistake="Alpha alone is not enough: the initial weights of f must be scaled by (8N)^(-1/4) for an encoder "
    "of N layers.",
)
def deep_norm(
    x: Tensor,
    f: Layer,
    alpha: Annotated[float, Range(1.0, 10.0, symbol=r"\alpha")] = 2.0,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Post-LN with a larger weight on the input than on the output of the layer.

    Args:
        x: (N, D) or (N, T, D).
        f: the layer, attention or MLP; the output has the shape of `x`.
        alpha: the weight of the input: (2N)^(1/4) for an encoder of N layers, which is 2 for 8 layers; 1 is post-LN.
        weight: (D,), the scale gamma, or None for 1.
        bias: (D,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The output of the block, shape of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Wang et al. 2022, Section 3 and Figure 2.
    """
    return _layer_norm("deep_norm", alpha * x + f(x), weight, bias, eps)  # shape of x


@normalization(
    title="adaLN-Zero",
    cite="peebles2022dit",
    aliases=("adaptive layer norm zero",),
    acts_on="blocks",
    formula=r"y = x + g\,f\big((1 + s)\,\mathrm{LN}(x) + b\big), \quad (b, s, g) = W\,\mathrm{SiLU}(c) + w" + _LN,
    use="In diffusion transformers: a condition (time step, class) sets the scale, shift and gate of each layer.",
    torch="",
    common_mistake="Initialize only W and its bias to 0: if the layers themselves also start at 0, no parameter "
    "receives a gradient.",
)
def ada_layer_norm_zero(
    x: Tensor,
    condition: Tensor,
    weight: Tensor,
    bias: Tensor,
    f: Layer,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """A residual block with scale, shift and gate computed from a condition; it is initialized as the identity.

    Args:
        x: (N, D) or (N, T, D).
        condition: (N, C), one vector per sample.
        weight: (3 D, C), the linear layer that computes shift, scale and gate, in this order; initially 0. A
            transformer block has two branches, hence 6 D in the paper.
        bias: (3 D,), the bias of that layer; initially 0.
        f: the layer, attention or MLP; the output has the shape of `x`.
        eps: added to the variance under the square root.

    Returns:
        The output of the block, shape of `x`: exactly `x` if `weight` and `bias` are 0.

    Raises:
        ValueError: an invalid shape.

    Source:
        Peebles & Xie 2022, Section 3.2 and Figure 3; FiLM (Perez et al. 2017), Eq. 2.
    """
    check_input("ada_layer_norm_zero", x)
    samples, features = x.shape[0], x.shape[-1]
    check_parameters("ada_layer_norm_zero", (samples, condition.shape[-1]), condition=condition)
    check_parameters("ada_layer_norm_zero", (3 * features, condition.shape[-1]), weight=weight)
    check_parameters("ada_layer_norm_zero", (3 * features,), bias=bias)
    modulation = F.linear(F.silu(condition), weight, bias)  # (N, 3 D)
    modulation = modulation.view(samples, *[1] * (x.ndim - 2), 3 * features)  # (N, 3 D) or (N, 1, 3 D)
    shift, scale, gate = modulation.chunk(3, dim=-1)  # (N, D) or (N, 1, D) each
    normalized = F.layer_norm(x, (features,), eps=eps)  # shape of x
    return x + gate * f((1 + scale) * normalized + shift)  # shape of x


@normalization(
    title="BatchNorm before or after the activation",
    cite="ioffe2015batch",
    aliases=("placement of batch normalization", "BN placement"),
    acts_on="blocks",
    formula=r"\phi(\mathrm{BN}(Wx)) \quad \text{or} \quad \mathrm{BN}(\phi(Wx + b))" + _BN,
    use="Before the activation, as published: the linear layer then needs no bias.",
    torch="F.relu(F.batch_norm(F.linear(x, weight, bias), None, None, training=True, eps=eps))",
    common_mistake="A linear layer or convolution before batch norm has a bias unless bias=False is passed; that bias "
    "has no effect.",
)
def norm_placement(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    before: bool = True,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """A linear layer, batch norm and a ReLU, with the norm before or after the ReLU.

    Args:
        x: (N, C), the batch.
        weight: (D, C), the weight of the linear layer.
        bias: (D,), the bias of the linear layer, or None; batch norm before the ReLU cancels it.
        before: whether to normalize before the ReLU, as published, instead of after it.
        eps: added to the variance under the square root.

    Returns:
        The output of the layer, (N, D): at least 0 with the norm before the ReLU, with mean 0 with the norm after it.

    Raises:
        ValueError: an invalid shape, or a batch of one sample.

    Source:
        Ioffe & Szegedy 2015, Section 3.2.
    """
    check_input("norm_placement", x)
    if x.ndim != 2 or weight.ndim != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"norm_placement needs x (N, C) and weight (D, C); received {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    check_parameters("norm_placement", (weight.shape[0],), bias=bias)
    linear = F.linear(x, weight, bias)  # (N, D)
    return F.relu(batch_norm(linear, eps=eps)) if before else batch_norm(F.relu(linear), eps=eps)  # (N, D)


@normalization(
    title="Normalizer-free block",
    cite="brock2021characterizing",
    aliases=("NF-ResNet", "NFNet", "normalizer-free net"),
    acts_on="blocks",
    formula=r"h_{l+1} = h_l + \alpha\,f(h_l / \beta), \quad \operatorname{Var}_{l+1} = \operatorname{Var}_l + \alpha^2",
    use="In residual networks without norms: the expected growth of the variance is divided out.",
    torch="h + alpha * f(h / beta)",
    common_mistake="The variance formula holds only if f preserves the variance: its weights need scaled weight "
    "standardization.",
)  # fmt: skip
def normalizer_free_block(
    h: Tensor,
    f: Layer,
    alpha: Annotated[float, Range(0.0, 1.0, symbol=r"\alpha")] = 0.2,
    beta: Annotated[float, Range(0.1, 10.0, symbol=r"\beta", log=True)] = 1.0,
) -> Tensor:
    """A residual block without a norm: the input of the branch is divided by its expected standard deviation.

    Args:
        h: activations with at least two axes.
        f: the branch, which must preserve the variance at initialization.
        alpha: the weight of the branch; each block adds its square to the variance.
        beta: the expected standard deviation of `h`, computed from the previous blocks, not measured.

    Returns:
        The output of the block, shape of `h`.

    Raises:
        ValueError: an invalid shape, or a beta that is not positive.

    Source:
        Brock, De & Smith 2021, Section 3; Brock et al. 2021, Section 3.
    """
    check_input("normalizer_free_block", h)
    if beta <= 0:
        raise ValueError(f"normalizer_free_block needs beta above 0; received {beta:g}")
    return h + alpha * f(h / beta)  # shape of h


def _layer_norm(name: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer norm over the features of each token, the last axis."""
    check_input(name, x)
    check_parameters(name, (x.shape[-1],), weight=weight, bias=bias)
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)  # shape of x

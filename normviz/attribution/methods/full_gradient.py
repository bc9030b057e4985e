"""FullGrad: the exact decomposition of a score into contributions of the input and of every bias."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from normviz.attribution.engine.attention import unfused
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.grid import Grid, find_grid, square_cells
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import read_output, recording, scan
from normviz.attribution.engine.probe import Probe
from normviz.registry import attribution

__all__ = ["FullGradients", "full_grad", "full_gradients"]

# Function names without underscores, as shared by torch, Tensor and torch.nn.functional. Functions that are not listed
# add nothing: ReLUs, pooling, means, reshaping and products with constants are homogeneous in their input.
_LAYERS = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"}
_SUMS = {"add", "radd", "iadd", "sub", "rsub", "isub", "subtract", "cat", "concat", "concatenate", "stack"}
_PRODUCTS = {
    "mul", "rmul", "imul", "multiply", "div", "idiv", "divide", "true_divide", "truediv", "itruediv", "matmul",
    "rmatmul", "mm", "bmm", "baddbmm", "einsum",
}  # fmt: skip
_CURVES = {
    "batch_norm", "group_norm", "layer_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
    "relu6", "hardtanh", "clamp", "clip", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid", "tanh", "elu",
    "selu", "celu", "softplus", "softmax", "log_softmax", "exp", "log", "sqrt", "rsqrt", "square", "pow", "reciprocal",
    "var", "std", "rdiv", "rtruediv", "rpow", "norm", "scaled_dot_product_attention",
}  # fmt: skip
# Functions whose four-dimensional result is (N, K, h, w), and functions whose result relates pairs of positions.
_MAPS = {"conv2d", "conv_transpose2d", "batch_norm", "group_norm", "instance_norm", "local_response_norm"}
_PAIRS = {
    "softmax", "log_softmax", "scaled_dot_product_attention", "matmul", "rmatmul", "mm", "bmm", "baddbmm", "einsum",
}  # fmt: skip


@dataclass(frozen=True)
class FullGradients:
    """The contributions to a score, signed and in its unit; their sum is the score.

    Attributes:
        input: (N, C, H, W), each input value times its gradient.
        biases: module name and contributions of each bias, in the shape of the module's output. Also counted as biases
            are the mean shift of normalizations and the value at 0 of the tangent of smooth activation functions.
        score: (N,), the decomposed score.
        grids: for each bias, the conversion to cells of the image; None if it has no position.
    """

    input: Tensor
    biases: tuple[tuple[str, Tensor], ...]
    score: Tensor
    grids: tuple[Grid | None, ...]

    @property
    def placed(self) -> tuple[Tensor, ...]:
        """The contributions with a position, the input first: (N, K, h, w) each, at their own resolution."""
        pairs = zip(self.biases, self.grids, strict=True)
        return self.input, *(grid.fold(part) for (_, part), grid in pairs if grid is not None)

    @property
    def unplaced(self) -> Tensor:
        """The sum of the contributions without a position (N,): final linear layers, attention, class tokens."""
        images, total = len(self.input), torch.zeros_like(self.score)  # (N,)
        for (_, part), grid in zip(self.biases, self.grids, strict=True):
            without = part if grid is None else part[:, : grid.extra]
            total = total + without.reshape(images, -1).sum(dim=1)  # (N,)
        return total

    @property
    def total(self) -> Tensor:
        """The sum of all contributions: (N,)."""
        parts = [self.input, *(part for _, part in self.biases)]
        images = len(self.input)  # windowed attention stores the windows of an image along the batch
        return torch.stack([part.reshape(images, -1).sum(dim=1) for part in parts]).sum(dim=0)  # (N,)

    @property
    def rest(self) -> Tensor:
        """The score minus the total (N,): rounding error, unless the network uses an unsupported function."""
        return self.score - self.total  # (N,)


def full_gradients(probe: Probe) -> FullGradients:
    """Decompose the score into input and biases: S = sum x dS/dx + sum b dS/db.

    Args:
        probe: network, images and class; the layer has no effect.

    Returns:
        The contributions, signed.

    Source:
        Srinivas & Fleuret 2019, proposition 1, and section 3 for the implicit biases.
    """
    trace = _Trace(probe.images, scan(probe.model, probe.images)[0].grids)
    with borrow_copy(probe.model) as net, recording(), ExitStack() as stack:
        for name, module in net.named_modules():
            stack.callback(module.register_forward_pre_hook(trace.enter(name)).remove)
            stack.callback(module.register_forward_hook(trace.leave).remove)
        leaf = probe.images.clone().requires_grad_()  # (N, C, H, W)
        with trace:
            output = read_output(net, leaf.clone())
            score = score_of(probe.objective, output, probe.images)  # (N,)
        sources = [leaf, *(bias.shift for bias in trace.biases)]
        gradients = torch.autograd.grad(score.sum(), sources, allow_unused=True)
    parts = [
        torch.zeros_like(value) if gradient is None else value * gradient
        for value, gradient in zip([leaf.detach(), *(p.bias for p in trace.biases)], gradients, strict=True)
    ]
    names = [bias.name for bias in trace.biases]
    grids = tuple(bias.grid for bias in trace.biases)
    return FullGradients(parts[0], tuple(zip(names, parts[1:], strict=True)), score.detach(), grids)


@attribution(
    title="FullGrad", cite="srinivas2019full", level="input", unit="rescaled logits",
    aliases=("full gradient",),
    formula=r"M = \psi\Big(x \odot \frac{\partial S_c}{\partial x}\Big) + \sum_{l} \sum_{k} \psi\Big(b^l_k "
    r"\frac{\partial S_c}{\partial b^l_k}\Big), \quad \psi = \mathrm{up}\big(\mathrm{rescale}(|\cdot|)\big)",
)  # fmt: skip
def full_grad(probe: Probe, rescale: bool = True) -> Tensor:
    """The magnitudes of the contributions of the input and every bias to the logit, summed over all layers.

    Biases of layers without spatial positions are omitted, and so are contributions of attention between tokens.

    Args:
        probe: network, images (N, C, H, W) and class; the layer has no effect.
        rescale: scale the magnitudes of each layer to [0, 1], as in the paper, so that all layers have equal influence;
            otherwise they are in logits.

    Returns:
        (N, H, W), at least 0.

    Source:
        Srinivas & Fleuret 2019, Eq. 4.
    """
    parts = full_gradients(probe)
    size = probe.images.shape[2:]
    heatmap = parts.input.new_zeros(len(parts.input), *size)  # (N, H, W)
    for part in parts.placed:
        cells = part.abs()  # (N, K, h, w)
        if rescale:
            low, high = cells.amin(dim=(1, 2, 3), keepdim=True), cells.amax(dim=(1, 2, 3), keepdim=True)
            cells = (cells - low) / torch.where(high > low, high - low, 1)  # (N, K, h, w)
        layer = cells.sum(dim=1, keepdim=True)  # (N, 1, h, w)
        heatmap += F.interpolate(layer, size=size, mode="bilinear", align_corners=False)[:, 0]  # (N, H, W)
    return heatmap


@dataclass(frozen=True)
class _Bias:
    """A bias: its value, its position, and a zero added to the result, to differentiate with respect to."""

    name: str
    grid: Grid | None
    bias: Tensor  # shape of `shift`
    shift: Tensor


class _Trace(TorchFunctionMode):
    """While active, every function that depends on the images and is not homogeneous records a bias.

    A function f has the bias b = f(z) - f'(z) z: the bias of a convolution, the mean shift of a normalization, the
    value at 0 of the tangent of a smooth activation function.
    """

    def __init__(self, images: Tensor, grids: Mapping[str, Grid]) -> None:
        super().__init__()
        self.biases: list[_Bias] = []
        self._inside: list[str] = []
        self._images, self._grids = images, grids
        self._tokens = any(grid.kind == "tokens" for grid in grids.values())

    def enter(self, name: str) -> Callable[..., None]:
        """A hook that records the start of a module."""
        return lambda module, args: self._inside.append(name)

    def leave(self, module: nn.Module, args: object, output: object) -> None:
        """A hook that records the end of a module."""
        self._inside.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        bias = _bias(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if bias is None or not bias.any():
            return result
        shift, inside = torch.zeros_like(result).requires_grad_(), self._inside[-1] if self._inside else ""
        grid = self._grid_of(func, args, kwargs or {}, result, self._grids.get(inside))
        self.biases.append(_Bias(inside, grid, bias.expand_as(result), shift))
        written = any(result is given for given in args)  # in place: other references must see the shift
        return result.add_(shift) if written else result + shift

    def _grid_of(
        self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], result: Tensor, module: Grid | None
    ) -> Grid | None:
        """The conversion of a function's result to cells of the image, or None.

        `module` is the conversion of the surrounding module's output. The result may have another layout: a layer norm
        of feature maps computes channels-last.
        """
        if result.ndim < 3 or len(result) != len(self._images):
            return None  # windows of an image may be stored along the batch
        name, grid = _name(func), None
        if result.ndim != 4:
            grid = module if module is not None and module.reads(result) else None
        elif name in _MAPS:
            grid = Grid("maps", _sizes(result))
            return grid if result.shape[2:].numel() > 1 else None  # padding may have changed its proportions
        elif name == "linear" or (name in ("layer_norm", "rms_norm") and _last_only(*args, **kwargs)):
            grid = Grid("channels last", _sizes(result.movedim(-1, 1)))
        elif name in _PAIRS:
            return None
        elif module is not None and module.reads(result):
            grid = module
        elif not self._tokens:
            grid = find_grid(nn.Identity(), result, self._images)
        cells = grid.shape[1:] if grid else (1, 1)
        return grid if cells != (1, 1) and square_cells(cells, self._images.shape[2:]) else None


def _name(func: Callable[..., Any]) -> str:
    """A function's name without the underscores of in-place functions and operators."""
    return getattr(func, "__name__", "").strip("_")


def _bias(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Tensor | None:
    """The bias of a function call: its result minus the part that is linear in its input; None if it has none."""
    name = _name(func)
    if name not in _LAYERS | _SUMS | _PRODUCTS | _CURVES:
        return None
    leaves, form = tree_flatten((args, dict(kwargs)))
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    moving = [i for i in tensors if leaves[i].requires_grad]
    if not moving or (name in _PRODUCTS and len(moving) < 2) or (name in _SUMS and len(moving) == len(leaves)):
        return None

    def call(*values: Tensor) -> Tensor:
        given = list(leaves)
        for index, value in zip(moving, values, strict=True):
            given[index] = value.clone()  # the function may write to it in place
        positional, named = tree_unflatten(given, form)
        result: Tensor = unfused(func)(*positional, **named)
        return result

    values = tuple(leaves[index].detach() for index in moving)
    if name in _CURVES | _PRODUCTS and not (name == "batch_norm" and not _uses_batch_statistics(*args, **kwargs)):
        result, tangent = torch.autograd.functional.jvp(call, values, values)  # type: ignore[no-untyped-call]
        return result - tangent  # type: ignore[no-any-return]
    with torch.no_grad():  # at input 0, only the bias remains
        return call(*(torch.zeros_like(value if name in _SUMS else value[:1]) for value in values))


def _sizes(maps: Tensor) -> tuple[int, int, int]:
    """(K, h, w) of maps (N, K, h, w)."""
    channels, height, width = maps.shape[1:]
    return channels, height, width


def _last_only(input: Tensor, normalized_shape: Sequence[int], *more: object, **named: object) -> bool:
    """Whether a normalization with these arguments normalizes the last dimension only."""
    return len(normalized_shape) == 1


def _uses_batch_statistics(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5, **more: object,
) -> bool:  # fmt: skip
    """Whether a batch norm with these arguments uses the statistics of its batch."""
    return training or running_mean is None

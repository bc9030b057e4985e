"""FullGrad: a logit as the exact sum of what the input and every bias of the network contribute to it."""

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

from normviz.attribution.engine.attention import plain
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.grid import Grid, find_grid, square_cells
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import read_output, recording, scan
from normviz.attribution.engine.probe import Probe
from normviz.registry import register

# Functions by their names without underscores, as torch, Tensor and torch.nn.functional share them. Those that are in
# no list add nothing: ReLUs, pooling, means, reshaping, and the product with a constant scale with their input.
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
# Functions that tell how their result of four dimensions lies: (N, K, h, w), or as numbers for pairs of places.
_MAPS = {"conv2d", "conv_transpose2d", "batch_norm", "group_norm", "instance_norm", "local_response_norm"}
_PAIRS = {
    "softmax", "log_softmax", "scaled_dot_product_attention", "matmul", "rmatmul", "mm", "bmm", "baddbmm", "einsum",
}  # fmt: skip


@dataclass(frozen=True)
class FullGradients:
    """The parts of a score, signed, in its unit; they add up to it.

    Attributes:
        input: (N, C, H, W), each value of the picture times its gradient.
        biases: the name of each module that adds something of its own, and what each number of its output adds, in
            the shape of that output. The shift by a mean counts as a bias, and so does what an activation function
            that is no ReLU adds to its tangent through 0.
        score: (N,), what was to be shared out.
        grids: how each of the biases is read as cells of the picture; None for one that has no place in it.
    """

    input: Tensor
    biases: tuple[tuple[str, Tensor], ...]
    score: Tensor
    grids: tuple[Grid | None, ...]

    @property
    def placed(self) -> tuple[Tensor, ...]:
        """The parts that have a place in the picture, the input first: (N, K, h, w) each, of its own size."""
        pairs = zip(self.biases, self.grids, strict=True)
        return self.input, *(grid.fold(part) for (_, part), grid in pairs if grid is not None)

    @property
    def unplaced(self) -> Tensor:
        """The sum of what has no place: linear layers at the end, attention between tokens, class tokens (N,)."""
        images, total = len(self.input), torch.zeros_like(self.score)  # (N,)
        for (_, part), grid in zip(self.biases, self.grids, strict=True):
            without = part if grid is None else part[:, : grid.extra]
            total = total + without.reshape(images, -1).sum(dim=1)  # (N,)
        return total

    @property
    def total(self) -> Tensor:
        """The sum of all parts: (N,)."""
        parts = [self.input, *(part for _, part in self.biases)]
        images = len(self.input)  # windows of a picture may lie in the batch, those of the first picture first
        return torch.stack([part.reshape(images, -1).sum(dim=1) for part in parts]).sum(dim=0)  # (N,)

    @property
    def rest(self) -> Tensor:
        """What the parts leave unexplained (N,): rounding, unless the network has a function without a rule."""
        return self.score - self.total  # (N,)


def full_gradients(probe: Probe) -> FullGradients:
    """Share out the score between the picture and the biases: S = sum x dS/dx + sum b dS/db.

    Args:
        probe: network, images and class; the layer plays no part.

    Returns:
        The parts, signed.

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
        sources = [leaf, *(piece.shift for piece in trace.pieces)]
        gradients = torch.autograd.grad(score.sum(), sources, allow_unused=True)
    parts = [
        torch.zeros_like(value) if gradient is None else value * gradient
        for value, gradient in zip([leaf.detach(), *(p.bias for p in trace.pieces)], gradients, strict=True)
    ]
    names = [piece.name for piece in trace.pieces]
    grids = tuple(piece.grid for piece in trace.pieces)
    return FullGradients(parts[0], tuple(zip(names, parts[1:], strict=True)), score.detach(), grids)


@register(
    title="FullGrad", kind="attribution", cite="srinivas2019full", level="input", unit="rescaled logits",
    aliases=("full gradient",),
    formula=r"M = \psi\Big(x \odot \frac{\partial S_c}{\partial x}\Big) + \sum_{l} \sum_{k} \psi\Big(b^l_k "
    r"\frac{\partial S_c}{\partial b^l_k}\Big), \quad \psi = \mathrm{up}\big(\mathrm{rescale}(|\cdot|)\big)",
)  # fmt: skip
def full_grad(probe: Probe, rescale: bool = True) -> Tensor:
    """The magnitudes of what the picture and every bias add to the logit, all layers laid over each other.

    Biases of layers without cells have no place and are left out, and so is what attention adds between tokens.

    Args:
        probe: network, images (N, C, H, W) and class; the layer plays no part.
        rescale: bring the magnitudes of each layer to the range from 0 to 1, as the paper does, so that all layers
            count alike; without it they are in logits.

    Returns:
        (N, H, W), at least 0.

    Source:
        Srinivas & Fleuret 2019, Eq. 4.
    """
    found = full_gradients(probe)
    size = probe.images.shape[2:]
    heatmap = found.input.new_zeros(len(found.input), *size)  # (N, H, W)
    for part in found.placed:
        cells = part.abs()  # (N, K, h, w)
        if rescale:
            low, high = cells.amin(dim=(1, 2, 3), keepdim=True), cells.amax(dim=(1, 2, 3), keepdim=True)
            cells = (cells - low) / torch.where(high > low, high - low, 1)  # (N, K, h, w)
        layer = cells.sum(dim=1, keepdim=True)  # (N, 1, h, w)
        heatmap += F.interpolate(layer, size=size, mode="bilinear", align_corners=False)[:, 0]  # (N, H, W)
    return heatmap


@dataclass(frozen=True)
class _Piece:
    """A bias that was met on the way: its value, its place, and a zero that was added beside it to differentiate by."""

    name: str
    grid: Grid | None
    bias: Tensor  # shape of `shift`
    shift: Tensor


class _Trace(TorchFunctionMode):
    """While active, everything on the way from the images that is not proportional to its input gives a piece.

    A function f adds b = f(z) - f'(z) z: the bias of a convolution, the shift of a normalization by its mean, what
    the tangent of a curve adds at 0.
    """

    def __init__(self, images: Tensor, grids: Mapping[str, Grid]) -> None:
        super().__init__()
        self.pieces: list[_Piece] = []
        self._inside: list[str] = []
        self._images, self._grids = images, grids
        self._tokens = any(grid.kind == "tokens" for grid in grids.values())

    def enter(self, name: str) -> Callable[..., None]:
        """A hook that notes that a module begins."""
        return lambda module, args: self._inside.append(name)

    def leave(self, module: nn.Module, args: object, output: object) -> None:
        """A hook that notes that a module has ended."""
        self._inside.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        bias = _bias(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if bias is None or not bias.any():
            return result
        shift, inside = torch.zeros_like(result).requires_grad_(), self._inside[-1] if self._inside else ""
        grid = self._place(func, args, kwargs or {}, result, self._grids.get(inside))
        self.pieces.append(_Piece(inside, grid, bias.expand_as(result), shift))
        written = any(result is given for given in args)  # in place: whoever holds the tensor must see the shift
        return result.add_(shift) if written else result + shift

    def _place(
        self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], result: Tensor, module: Grid | None
    ) -> Grid | None:
        """How the result of a function is read as cells of the picture, if it is; `module`: how its module's output is.

        The function need not lie as its module's output does: a layer norm of maps turns them to channels last within.
        """
        if result.ndim < 3 or len(result) != len(self._images):
            return None  # the windows of a picture may lie in the batch
        name, grid = _name(func), None
        if result.ndim != 4:
            grid = module if module is not None and module.reads(result) else None
        elif name in _MAPS:
            grid = Grid("maps", _sizes(result))
            return grid if result.shape[2:].numel() > 1 else None  # even if its borders have changed its proportions
        elif name == "linear" or (name in ("layer_norm", "rms_norm") and _last_alone(*args, **kwargs)):
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
    """A function's name, without the underscores of what works in place or is an operator."""
    return getattr(func, "__name__", "").strip("_")


def _bias(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Tensor | None:
    """What a function adds to the part of its result that is proportional to its input; None for nothing."""
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
            given[index] = value.clone()  # it may be written into
        positional, named = tree_unflatten(given, form)
        result: Tensor = plain(func)(*positional, **named)
        return result

    values = tuple(leaves[index].detach() for index in moving)
    if name in _CURVES | _PRODUCTS and not (name == "batch_norm" and not _takes_batch(*args, **kwargs)):
        result, tangent = torch.autograd.functional.jvp(call, values, values)  # type: ignore[no-untyped-call]
        return result - tangent  # type: ignore[no-any-return]
    with torch.no_grad():  # without its input, only what it adds remains
        return call(*(torch.zeros_like(value if name in _SUMS else value[:1]) for value in values))


def _sizes(maps: Tensor) -> tuple[int, int, int]:
    """(K, h, w) of maps (N, K, h, w)."""
    channels, height, width = maps.shape[1:]
    return channels, height, width


def _last_alone(input: Tensor, normalized_shape: Sequence[int], *more: object, **named: object) -> bool:
    """Whether a normalization, by its arguments, is that of the last dimension alone."""
    return len(normalized_shape) == 1


def _takes_batch(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5, **more: object,
) -> bool:  # fmt: skip
    """Whether a batch norm, by its arguments, takes the statistics of its batch."""
    return training or running_mean is None

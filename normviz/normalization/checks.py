"""What every normalization asks of its input: sentences instead of a kernel's traceback."""

from __future__ import annotations

from torch import Tensor


def check_input(name: str, x: Tensor, lowest_rank: int = 2) -> None:
    """Refuse an input that the method `name` cannot normalize.

    Args:
        name: the method, as the sentence calls it.
        x: the input, (N, C, ...).
        lowest_rank: the fewest axes that the method takes.

    Raises:
        ValueError: too few axes, no values, or values that are not floating-point numbers.
    """
    shape = tuple(x.shape)
    if x.ndim < lowest_rank:
        least = "(N, C)" if lowest_rank == 2 else "(N, C, L) or (N, C, H, W)"
        raise ValueError(f"{name} needs an input of at least {lowest_rank} axes, {least}; received shape {shape}")
    if not x.is_floating_point():
        raise ValueError(
            f"{name} needs floating-point values; received {x.dtype} of shape {shape}: call .float() first"
        )
    if x.numel() == 0:
        raise ValueError(f"{name} needs at least one value; received the empty shape {shape}")


def check_parameters(name: str, shape: tuple[int, ...], **tensors: Tensor | None) -> None:
    """Refuse parameters or statistics whose shape does not fit the input; None is always right.

    Args:
        name: the method, as the sentence calls it.
        shape: the shape that each tensor must have.
        **tensors: the tensors by the name of the argument.

    Raises:
        ValueError: a tensor of another shape.
    """
    for argument, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} needs {argument} of shape {shape} here; received {tuple(tensor.shape)}")

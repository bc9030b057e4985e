"""Replacement values for removed pixels: the mean color, the blurred photo, or black."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from normviz.attribution.engine.blur import gaussian_blur

Replacement = Literal["mean", "blur", "black"]
REPLACEMENTS: dict[Replacement, str] = {
    "mean": "the photo's mean color",
    "blur": "the photo, blurred",
    "black": "black",
}
BLUR = 1 / 16  # standard deviation of the blur, as a share of the longer side


def replacement_pixels(image: Tensor, kind: Replacement, black: Sequence[float] | None = None) -> Tensor:
    """Compute an image with the replacement values for removed pixels.

    Args:
        image: (C, H, W), floating point, as the network expects it.
        kind: "mean": the mean of each color of the image; "blur": the blurred image (see `blurred`); "black": the
            values in `black`.
        black: C values of black in the standardized input, -mean / std; required for "black".

    Returns:
        (C, H, W).

    Raises:
        ValueError: if the kind is unknown, the shape does not fit, or black is missing.
    """
    if kind not in get_args(Replacement):
        raise ValueError(f"the replacement must be one of {', '.join(get_args(Replacement))}; received {kind!r}")
    if image.ndim != 3 or image.numel() == 0 or not image.is_floating_point():
        raise ValueError(f"an image must be floating point (C, H, W); received {image.dtype} {tuple(image.shape)}")
    if kind == "blur":
        return blurred(image)
    if kind == "mean":
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image)  # (C, H, W)
    if black is None or len(black) != len(image):
        raise ValueError(
            f"black must be given as one value for each of the {len(image)} colors, -mean / std of the network's "
            f"input; received {black}"
        )
    return image.new_tensor(black)[:, None, None].expand_as(image)  # (C, H, W)


def blurred(image: Tensor, share: float = BLUR) -> Tensor:
    """Blur an image (C, H, W) with a Gaussian; near the border, the weights of the pixels inside add up to 1.

    Args:
        image: floating point.
        share: the standard deviation as a share of the longer side.

    Returns:
        (C, H, W).
    """
    return gaussian_blur(image, share * max(image.shape[1:]), edges="renormalize")  # (C, H, W)

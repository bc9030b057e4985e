"""Color maps as tables, and a heatmap drawn over its photo.

inferno, magma and viridis are matplotlib's (CC0), cividis is by Nuñez et al. (2018, 1712.01662). They are perceptually
uniform. blue-white-orange diverges from white to both sides with equal lightness in CIELAB, for signed values.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from normviz.images import resize_map

_ANCHORS = {  # evenly spaced colors, six hexadecimal digits each
    "inferno": (
        "00000402020c0504170a072210092d160b391e0c45260c512f0a5b380962400a67490b6a510e6c59106e61136e69166e71196e"
        "781c6d801f6c88226a902568982766a02a63a82e5fb0315bb73557bf3952c63d4dcc4248d34743d94d3ddf5337e45a31e9612b"
        "ed6925f1711ff47918f78212f98b0bfa9407fb9d07fca60cfcb014fbba1ffac42af8cd37f6d746f4e156f2ea69f2f27df5f992"
        "fcffa4"
    ),
    "magma": (
        "00000402020b0504160907200e0b2b140e361a104221114e29115a311165390f6e420f754a107952137c5a167e6219806a1c81"
        "721f81792282812581892881912b81992d80a1307eaa337db2357bba3878c23b75ca3e72d2426fd9466be04c67e75263ec5860"
        "f1605df4695cf7725cf97b5dfb8560fc8e64fd9869fea16efeaa74feb47bfebd82fec68afecf92fed89afde2a3fdebacfcf4b6"
        "fcfdbf"
    ),
    "viridis": (
        "44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a3a538b38598c355e8d33638d"
        "31688e2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d20928c1f978b1e9c891fa18821a58524aa8328ae802eb37c"
        "35b7793dbc7446c06f50c46a5ac86465cb5e70cf577cd25089d54895d840a2da37b0dd2fbddf26cae11fd8e219e5e419f1e51d"
        "fde725"
    ),
    "cividis": (
        "00224e002656002a5f002d68003070083370163770203a6f273e6e2e416d34456c3a486c3f4c6c444f6c49536c4e566c535a6d"
        "575d6d5c616e60646f656870696b716d6f727272747676767a7a787e7d788381798885788d8878928c789690779b9476a09875"
        "a59c74aaa073afa471b5a86fbaac6dbfb06bc4b468c9b965cfbd62d4c15fdac65bdfca57e5cf52ead34cf0d846f6dd3ffce236"
        "fee838"
    ),
    "blue-white-orange": (
        "143f6b0a558d196bab3782c55998da7eb0e9a5c7f2cedef6f7f6f3ffd1b7ffae84fe8e5beb7139d1581fb3440c9034056b2a08"
    ),
}
NAMES: tuple[str, ...] = tuple(_ANCHORS)
SIGNED = "blue-white-orange"  # negative values are blue, positive ones orange, 0 is white
OPACITY = 0.55  # default opacity of a heatmap over its photo
MISSING = 128  # gray level of a value that is not finite


@functools.cache
def palette(name: str) -> NDArray[np.uint8]:
    """The 256 colors of a color map, from its lowest to its highest value.

    Args:
        name: one of NAMES.

    Returns:
        A read-only uint8 array (256, 3).

    Raises:
        ValueError: an unknown name.
    """
    if name not in _ANCHORS:
        raise ValueError(f"the color map must be one of {', '.join(NAMES)}; received {name!r}")
    anchors = np.frombuffer(bytes.fromhex(_ANCHORS[name]), np.uint8).reshape(-1, 3)  # (anchors, 3)
    at = np.linspace(0, 255, len(anchors))  # (anchors,)
    table = np.stack([np.interp(np.arange(256), at, anchors[:, c]) for c in range(3)], axis=1)  # (256, 3)
    colors = np.round(table).astype(np.uint8)  # (256, 3)
    colors.flags.writeable = False
    return colors


def limits(values: Tensor | NDArray[np.floating], signed: bool) -> tuple[float, float]:
    """The values that get the first and the last color.

    Args:
        values: any shape; values that are not finite are ignored.
        signed: whether the scale is symmetric about 0.

    Returns:
        (low, high): 0 and the maximum, but at least 0; for a signed scale, minus and plus the largest magnitude.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if signed:
        high = float(np.abs(numbers).max(initial=0.0))
        return -high, high
    return 0.0, float(numbers.max(initial=0.0))


def colorize(values: Tensor | NDArray[np.floating], name: str, low: float, high: float) -> NDArray[np.uint8]:
    """The colors of a map; values beyond the limits get the outermost colors, values that are not finite gray.

    Args:
        values: (h, w), on the CPU.
        name: one of NAMES.
        low: the value of the first color.
        high: the value of the last color; where `low` equals `high`, the whole map gets the color of 0.

    Returns:
        uint8 colors (h, w, 3).

    Raises:
        ValueError: an unknown color map, or limits that are not finite or not in ascending order.
    """
    table = palette(name)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"the limits must be finite and in ascending order; received {low} and {high}")
    numbers = np.asarray(values, dtype=np.float64)  # (h, w)
    finite = np.isfinite(numbers)  # (h, w)
    if low == high:
        position = np.full(numbers.shape, 0.5 if name == SIGNED else 0.0)  # (h, w)
    else:
        position = (np.where(finite, numbers, low) - low) / (high - low)  # (h, w)
    colors = table[np.round(255 * position.clip(0, 1)).astype(np.uint8)]  # (h, w, 3)
    colors[~finite] = MISSING
    return colors


def overlay(
    photo: Tensor | NDArray[np.uint8] | Image.Image,
    heatmap: Tensor | NDArray[np.floating],
    opacity: float = OPACITY,
    color_map: str = "inferno",
    scale: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw a heatmap over its photo, resized bilinearly to the photo's size.

    Args:
        photo: a uint8 tensor (3, H, W) as `read_photo` returns it, a uint8 array (H, W, 3), or a PIL image.
        heatmap: (h, w) or (1, h, w); color channels, (3, H, W) or (1, 3, H, W), are summed.
        opacity: share of the heatmap's color in the result, 0 to 1.
        color_map: one of NAMES. A map with negative values is drawn in blue-white-orange unless `scale` is given.
        scale: the values of the first and the last color; by default 0 and the map's maximum, or, for a map with
            negative values, minus and plus its largest magnitude.

    Returns:
        An RGB image of the photo's size.

    Raises:
        ValueError: a photo or heatmap of another shape or type, an opacity outside 0 to 1, or an unknown color map.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"the opacity must be from 0 to 1; received {opacity}")
    pixels = _pixels(photo)  # (H, W, 3)
    values = _single_map(heatmap)  # (h, w)
    if scale is None:
        signed = bool((values < 0).any())
        scale = limits(values, signed)
        color_map = SIGNED if signed else color_map
    resized = resize_map(values, pixels.shape[:2])  # (H, W)
    colors = colorize(resized, color_map, *scale)  # (H, W, 3)
    mixed = (1 - opacity) * pixels.astype(np.float32) + opacity * colors  # (H, W, 3)
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def _pixels(photo: Tensor | NDArray[np.uint8] | Image.Image) -> NDArray[np.uint8]:
    """A photo as an array (H, W, 3)."""
    if isinstance(photo, Image.Image):
        return np.asarray(photo.convert("RGB"))
    pixels = photo.detach().cpu().permute(1, 2, 0).numpy() if isinstance(photo, Tensor) and photo.ndim == 3 else photo
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            "the photo must be a uint8 tensor (3, H, W), a uint8 array (H, W, 3) or a PIL image; "
            f"received {photo.dtype} of shape {tuple(photo.shape)}"
        )
    return pixels


def _single_map(heatmap: Tensor | NDArray[np.floating]) -> Tensor:
    """A heatmap as a tensor (h, w) on the CPU: the only one of a batch, summed over color channels."""
    values = torch.as_tensor(heatmap).detach().float().cpu()
    shape = tuple(values.shape)
    if values.ndim in (3, 4) and shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[0] == 3:
        values = values.sum(dim=0)
    if values.ndim != 2:
        raise ValueError(f"the heatmap must be (h, w), (1, h, w), (3, H, W) or (1, 3, H, W); received shape {shape}")
    return values  # (h, w)

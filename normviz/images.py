"""Decode image files to RGB tensors, resize images and maps, and encode PNG files.

Everything is done in memory. A file that cannot be decoded raises a ValueError with a message for the user.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

Heatmap = TypeVar("Heatmap", Tensor, NDArray[np.float32], NDArray[np.floating])

LONGEST = 1024  # pixels, the longer side of a decoded image
LARGEST_FILE = 64 * 2**20  # bytes
LARGEST_PICTURE = 70_000_000  # pixels, from the header of the file
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000", "PPM")  # no formats that run a program
_ADVICE = "save it as JPEG or PNG and try again"
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_BROKEN = (
    OSError, SyntaxError, ValueError, RuntimeError, ArithmeticError, LookupError, EOFError, TypeError, struct.error,
    zlib.error,
)  # fmt: skip  # the exceptions of Pillow for damaged files

# For the whole process, because warnings.catch_warnings is not thread-safe. Damaged files are reported to the user.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def decode(data: bytes) -> Tensor:
    """Decode the first frame of an image file to upright RGB on a white background.

    16-bit and floating-point gray values are scaled, not clipped. Large images are downscaled.

    Args:
        data: the content of the file, at most LARGEST_FILE bytes.

    Returns:
        uint8 (3, H, W) on the CPU, the longer side at most LONGEST pixels.

    Raises:
        ValueError: the file is empty, too large, damaged, or not an image.
    """
    if not data:
        raise ValueError("the file is empty; choose another one")
    if len(data) > LARGEST_FILE:
        raise ValueError(
            f"the file has {len(data) / 2**20:.0f} MB, more than {LARGEST_FILE // 2**20} MB; reduce the picture first"
        )
    image = _open(data)
    width, height = image.size
    try:
        image.draft(None, _target(width, height, 2 * LONGEST))  # decode a JPEG at reduced size
        image.load()
        _turn_upright(image)
        rgb = _to_rgb(image)
    except (MemoryError, *_BOMBS):
        raise ValueError(f"a picture of {width:,} x {height:,} pixels does not fit into memory; reduce it") from None
    except _BROKEN as error:
        raise ValueError(f"the picture is damaged or incomplete ({_reason(error)}); {_ADVICE}") from None
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()  # (3, H, W)


def read_photo(path: Path | str) -> Tensor:
    """Read and `decode` an image file.

    Raises:
        ValueError: the file cannot be read, or is not an image.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path} is larger than {LARGEST_FILE // 2**20} MB; reduce the picture first")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _open(data: bytes) -> Image.Image:
    """Open an image and check its header, without decoding its pixels."""
    too_many = f"the picture has more than {LARGEST_PICTURE // 10**6} million pixels; reduce it and try again"
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except _BOMBS:
        raise ValueError(too_many) from None
    except _BROKEN:
        if data[4:8] == b"ftyp" and data[8:11] != b"avi":  # the container format of AVIF
            raise ValueError(f"HEIC photos and films cannot be read; {_ADVICE}") from None
        raise ValueError(f"the file is not a picture that can be read, or it is damaged; {_ADVICE}") from None
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"the picture has no pixels ({width} x {height}); choose another one")
    if width * height > LARGEST_PICTURE:
        raise ValueError(too_many)
    return image


def _turn_upright(image: Image.Image) -> None:
    """Rotate an image upright by its EXIF orientation; images with damaged EXIF data are unchanged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN:
        return
    if orientation != 1:
        ImageOps.exif_transpose(image, in_place=True)


def _reason(error: BaseException) -> str:
    """The first line of an error message, without the byte counts that Pillow adds for truncated files."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(" (")[0].rstrip(".")


def _target(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size after reducing the longer side to `longest`; smaller images keep their size."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB on a white background, with sides of at most LONGEST pixels."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_gray(np.asarray(image)))
    transparent = image.has_transparency_data
    image = image.convert("RGBA" if transparent else "RGB")
    size = _target(*image.size, LONGEST)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    if transparent:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def _gray(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert 16-bit, 32-bit or floating-point values (H, W) to gray levels.

    White is 65535 for 16-bit values, otherwise the first of 1, 255 and 65535 that is not exceeded. If values are
    negative or larger, black is the minimum and white the maximum.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        levels: NDArray[np.uint8] = (values // 257).astype(np.uint8)  # (H, W)
        return levels
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)  # (H, W)
    low, high = float(numbers.min()), float(numbers.max())
    white = next((w for w in (1.0, 255.0, 65535.0) if low >= 0 and high <= w), None)
    if white is None:
        numbers, white = numbers - low, (high - low) or 1.0
    return np.round(numbers * (255 / white)).astype(np.uint8)


def to_batch(image: Tensor, size: int) -> Tensor:
    """Resize an image to a square network input (bilinear with antialiasing; the aspect ratio changes).

    Args:
        image: uint8 (3, H, W).
        size: the side length in pixels.

    Returns:
        float32 (1, 3, size, size) in [0, 1].
    """
    pixels = image.unsqueeze(0).float() / 255  # (1, 3, H, W)
    square = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)  # (1, 3, size, size)
    return square.clamp_(0, 1)  # rounding can exceed the range by 1e-7


def resize_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map (h, w) to (H, W), bilinear with `align_corners=False`; the result is float32 on the CPU."""
    if values.ndim != 2:
        raise ValueError(f"a map must be (h, w); received shape {tuple(values.shape)}")
    maps = values.detach().float().cpu()[None, None]  # (1, 1, h, w)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0, 0]  # (H, W)


def sum_channels(heatmap: Heatmap) -> Heatmap:
    """The map (h, w) to draw: a map at the input (C, H, W) summed over its channels, any other map unchanged."""
    if heatmap.ndim == 2:
        return heatmap
    total: Heatmap = heatmap.sum(0)  # (H, W)
    return total


def destandardize(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels in the scale 0 to 1 of standardized network inputs: values * std + mean, not clamped.

    Args:
        values: (..., C, H, W), floating point.
        mean: C means, as subtracted from pixels in [0, 1].
        std: C standard deviations by which the difference was divided.

    Returns:
        (..., C, H, W).
    """
    scale, shift = (values.new_tensor(numbers)[:, None, None] for numbers in (std, mean))  # (C, 1, 1) each
    return values * scale + shift  # (..., C, H, W)


def to_uint8(pixels: Tensor) -> Tensor:
    """Pixels in the scale 0 to 1 as uint8, rounded and clamped to 0 to 255, in the same shape."""
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 pixels (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()

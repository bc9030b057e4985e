"""The photo that a page works on: uploaded, taken with the camera, or one of the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.images import decode
from normviz.samples import SAMPLES, load_sample
from normviz.ui.kit import cache, page_layout, url_widgets

ENDINGS = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]  # a hint for the file dialog only


@dataclass(frozen=True)
class Photo:
    """An upright picture and where it came from.

    Attributes:
        name: what to call it.
        pixels: uint8 (H, W, 3), read-only.
        identity: distinguishes it from all other photos.
        sample: the name of the sample, or None for a visitor's own photo and for everything made from one.
    """

    name: str
    pixels: NDArray[np.uint8]
    identity: str
    sample: str | None

    @property
    def private(self) -> bool:
        """Whether it is a visitor's own photo; see `normviz.ui.kit.cache`."""
        return self.sample is None

    @property
    def image(self) -> Tensor:
        """The picture as uint8 (3, H, W)."""
        return as_image(self.pixels)  # (3, H, W)


def as_image(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (H, W, 3) as an image tensor (3, H, W)."""
    return torch.tensor(pixels).permute(2, 0, 1)  # (3, H, W)


def decoded(data: bytes) -> NDArray[np.uint8]:
    """Decode a file; the result is upright and at most 1,024 pixels long."""
    pixels = decode(data).permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
    pixels.flags.writeable = False
    return pixels


def sample_pixels(name: str) -> NDArray[np.uint8]:
    """A sample photograph, uint8 (H, W, 3), decoded once for all."""
    return cache.keep("sample", name, lambda: decoded(load_sample(name)))


def pick(label: str = "Your photo", prefix: str = "", default: str = next(iter(SAMPLES))) -> Photo:
    """Draw the uploader, the camera and the samples, and return the photo to work on.

    A file that cannot be read gets one sentence; the photo before it stays.

    Args:
        label: what the photo is called on the page.
        prefix: put before the keys of the widgets, where a page has several photos.
        default: the sample to start with.
    """
    uploaded = st.file_uploader(label, ENDINGS, key=f"{prefix}photo-file", help="It stays in this server's memory.")
    if url_widgets.toggle("Use the camera", False, f"{prefix}camera"):
        uploaded = st.camera_input("Take a photo", key=f"{prefix}photo-camera") or uploaded
    sample = url_widgets.select("Or a sample", list(SAMPLES), default, f"{prefix}sample", text=SAMPLES.__getitem__)
    if uploaded is not None:
        try:
            upload = cache.Private(uploaded.file_id)
            pixels = cache.keep(f"{prefix}photo", (), lambda: decoded(uploaded.getvalue()), [upload])
            return Photo("your photo", pixels, uploaded.file_id, None)
        except ValueError as error:
            page_layout.sentence(f"{error}. The sample is shown instead.")
    return Photo(SAMPLES[sample], sample_pixels(sample), sample, sample)

"""The photo that a page works on: uploaded, taken with the camera, or one of the samples."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.images import decode
from normviz.samples import SAMPLES, load_sample
from normviz.ui.kit import cache, page_layout, url_widgets
from normviz.ui.maps.photo import Photo

ENDINGS = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]  # a hint for the file dialog only


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

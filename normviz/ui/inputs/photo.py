"""The photo picker: an uploaded photo, a photo from the camera, or a sample."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.images import decode
from normviz.samples import SAMPLES, load_sample
from normviz.ui.kit import cache, page_layout, url_widgets
from normviz.ui.maps.photo import Photo

EXTENSIONS = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]  # a hint for the file dialog only


def decoded(data: bytes) -> NDArray[np.uint8]:
    """Decode an image file to uint8 (H, W, 3), upright, with at most 1,024 pixels on the longer side."""
    pixels = decode(data).permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
    pixels.flags.writeable = False
    return pixels


def sample_pixels(name: str) -> NDArray[np.uint8]:
    """The pixels of a sample photo, uint8 (H, W, 3); decoded once."""
    return cache.keep("sample", name, lambda: decoded(load_sample(name)))


def pick(label: str = "Your photo", prefix: str = "", default: str = next(iter(SAMPLES))) -> Photo:
    """Draw the uploader, the camera and the list of samples, and return the chosen photo.

    If a file cannot be read, an error is shown and the selected sample is returned.

    Args:
        label: label of the uploader.
        prefix: prefix of the widget keys, for pages with several photos.
        default: the sample that is selected at first.
    """
    uploaded = st.file_uploader(label, EXTENSIONS, key=f"{prefix}photo-file", help="Kept in memory only, never saved.")
    if url_widgets.toggle("Use the camera", False, f"{prefix}camera"):
        uploaded = st.camera_input("Take a photo", key=f"{prefix}photo-camera") or uploaded
    sample = url_widgets.select(
        "Or a sample photo", list(SAMPLES), default, f"{prefix}sample", text=SAMPLES.__getitem__
    )
    if uploaded is not None:
        try:
            upload = cache.Private(uploaded.file_id)
            pixels = cache.keep(f"{prefix}photo", (), lambda: decoded(uploaded.getvalue()), [upload])
            return Photo("your photo", pixels, uploaded.file_id, None)
        except ValueError as error:
            page_layout.sentence(f"{error}. The sample is shown instead.")
    return Photo(SAMPLES[sample], sample_pixels(sample), sample, sample)

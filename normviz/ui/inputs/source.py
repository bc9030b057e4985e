"""The activation picker: generated values, activations of the embedded network for photos, an array, or a table."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.activations import DESCRIPTIONS, DISTRIBUTIONS, LAYOUTS, Distribution, Layout, layout_of, padding_mask
from normviz.arrays import read_arrays
from normviz.attribution import Probe, layers
from normviz.models.catalog import Classifier, load_classifier
from normviz.samples import SAMPLES
from normviz.ui.inputs import table as table_picker
from normviz.ui.inputs.photo import decoded, pick, sample_pixels
from normviz.ui.kit import cache, jobs, page_layout, url_widgets
from normviz.ui.maps.photo import as_image

SHAPES: dict[Layout, str] = {"nc": "N, C", "ntd": "N, T, D", "nchw": "N, C, H, W", "ncdhw": "N, C, D, H, W"}
SOURCES = {"generated": "Generated", "photo": "Photos", "file": "A file", "table": "A table"}
SIZES: dict[str, tuple[int, ...]] = {
    "N": (1, 2, 4, 8, 16, 32),
    "C": (1, 2, 4, 8, 12, 16, 32, 64),
    "D": (1, 2, 4, 8, 12, 16, 32, 64),
    "T": (1, 2, 4, 8, 12, 16, 32, 64),
    "depth": (1, 2, 4, 8, 16),
    "H": (1, 2, 4, 8, 16, 28, 56),
    "W": (1, 2, 4, 8, 16, 28, 56),
}
DEFAULTS = {"N": 8, "C": 16, "D": 16, "T": 12, "depth": 4, "H": 16, "W": 16}
MAX_PHOTOS = 16  # uploaded photos in one batch


@dataclass(frozen=True)
class Source:
    """Activations with their origin.

    Attributes:
        x: the activations; shared, never modify them.
        layout: "nc", "ntd", "nchw" or "ncdhw".
        identity: unique among all activations.
        private: whether they come from a visitor's file; see `normviz.ui.kit.cache`.
        running: the running mean and variance (C,) of the batch norm layer that normalizes them, or None.
        names: names of the samples.
        mask: (N, T) bool, True for the real frames of padded sequences, or None.
    """

    x: Tensor
    layout: Layout
    identity: Hashable
    private: bool
    running: tuple[Tensor, Tensor] | None
    names: tuple[str, ...]
    mask: Tensor | None = None


def choose() -> Source:
    """Draw the widgets of the picker and return the chosen activations."""
    kind = url_widgets.select("Activations", tuple(SOURCES), "generated", "source", text=SOURCES.__getitem__)
    draw: dict[str, Callable[[], Source]] = {
        "generated": _generated, "photo": _of_photos, "file": _of_file, "table": _of_table,
    }  # fmt: skip
    return draw[kind]()


def _generated() -> Source:
    layout = url_widgets.select("Shape", LAYOUTS, "nchw", "shape", text=SHAPES.__getitem__)
    letters = [("depth" if letter == "D" and layout == "ncdhw" else letter) for letter in layout.upper()]
    shape = []
    for first in range(0, len(letters), 2):  # row by row, so that narrow screens stack them in order
        for letter, column in zip(letters[first : first + 2], st.columns(2, gap="small"), strict=False):
            with column:
                shape.append(url_widgets.select(letter.title(), SIZES[letter], DEFAULTS[letter], letter))
    distribution = url_widgets.select(
        "Values", DISTRIBUTIONS, "shifted", "values", help="; ".join(f"{k}: {v}" for k, v in DESCRIPTIONS.items())
    )
    seed = url_widgets.number("Seed", 0, 9999, 0, "seed", help="The same seed gives the same numbers on every machine.")
    names = tuple(f"{i}" for i in range(shape[0]))
    share = 0
    if layout == "ntd":
        share = url_widgets.slider(
            "Padding, % of frames", 0, 70, 0, "padding", step=5, help="The sequences get different lengths."
        )
    return generated(tuple(shape), distribution, seed, share, names)


def generated(
    shape: tuple[int, ...], distribution: Distribution, seed: int, share: int, names: tuple[str, ...]
) -> Source:
    """Generate activations; in sequences, about `share` percent of the frames are padding, which is zero."""
    x, layout = cache.activations(shape, distribution, seed), layout_of(shape)
    if not share:
        return Source(x, layout, (shape, distribution, seed), False, None, names)
    key = (shape, distribution, seed, share)

    def pad() -> tuple[Tensor, Tensor]:
        mask = padding_mask(shape[0], shape[1], share / 100, seed).to(x.device)  # (N, T)
        return x * mask[..., None], mask  # (N, T, D), (N, T)

    padded, mask = cache.keep("padded", key, pad)
    return Source(padded, layout, key, False, None, names, mask)


def _of_photos() -> Source:
    photo = pick()
    classifier = load_classifier()
    own, files = _more_photos()
    others = url_widgets.slider(
        "Other samples in the batch", 0, 5, 3, "others", help="Batch statistics need several samples."
    )
    companions = [name for name in SAMPLES if name != photo.sample][:others]
    names = {name: f"{name} {' × '.join(map(str, shape))}" for name, shape in maps(classifier).items()}
    start = [name for name in names if _norm_after(classifier, name) is not None][-2]
    layer = url_widgets.select("Layer output", list(names), start, "norm-layer", text=names.__getitem__)
    key = (tuple(companions), layer)
    inputs: list[cache.Input] = [photo, *([files] if own else [])]

    def run() -> Tensor:
        pictures = [photo.pixels, *own.values(), *map(sample_pixels, companions)]
        images = torch.cat([classifier.prepare(as_image(picture)) for picture in pictures])  # (N, 3, H, W)
        return jobs.compute(lambda: Probe(classifier.model, images, layer=layer).activations)  # (N, C, h, w)

    x = cache.keep("activations", key, run, inputs)
    labels = (photo.name, *own, *(SAMPLES[name] for name in companions))
    identity, private = cache.full_key("photos", key, inputs), cache.is_private(inputs)
    return Source(x, "nchw", identity, private, _norm_after(classifier, layer), labels)


def _more_photos() -> tuple[dict[str, NDArray[np.uint8]], cache.Private]:
    """Draw an uploader for more photos; return them by file name, and the cache key of the files.

    For each file that cannot be read, an error is shown.
    """
    files = st.file_uploader("More of your photos", accept_multiple_files=True, key="batch-files") or []

    def read() -> dict[str, NDArray[np.uint8] | str]:
        results: dict[str, NDArray[np.uint8] | str] = {}
        for file in files[:MAX_PHOTOS]:
            try:
                results[file.name] = decoded(file.getvalue())
            except ValueError as error:
                results[file.name] = f"{error}. It is left out."
        return results

    identity = cache.Private(tuple(file.file_id for file in files))
    photos = cache.keep("batch", (), read, [identity])
    for text in (photo for photo in photos.values() if isinstance(photo, str)):
        page_layout.sentence(text)
    if len(files) > MAX_PHOTOS:
        page_layout.sentence(f"The first {MAX_PHOTOS} of your {len(files)} photos are used.", "hint")
    return {name: pixels for name, pixels in photos.items() if not isinstance(pixels, str)}, identity


def _norm_after(classifier: Classifier, layer: str) -> tuple[Tensor, Tensor] | None:
    """The running mean and variance of the batch norm layer that follows a convolution, or None."""
    if not layer.endswith("conv"):
        return None
    norm = dict(classifier.model.named_modules()).get(layer.removesuffix("conv") + "norm")
    mean, variance = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    return (mean, variance) if isinstance(mean, Tensor) and isinstance(variance, Tensor) else None


def maps(classifier: Classifier) -> dict[str, tuple[int, ...]]:
    """The layers of the classifier that return feature maps, with their shapes."""

    def find() -> dict[str, tuple[int, ...]]:
        blank = torch.zeros(3, 8, 8, dtype=torch.uint8)  # (3, 8, 8)
        return dict(layers(classifier.model, classifier.prepare(blank)))

    return cache.keep("layers with maps", (classifier.name, classifier.size), find)


def _of_file() -> Source:
    uploaded = st.file_uploader(
        "Array", ["npy", "npz"], key="array-file", help="NumPy .npy or .npz: (N, C), (N, T, D), (N, C, H, W), ..."
    )
    if uploaded is None:
        st.caption("Until you choose a file, generated activations are shown.")
        return generated((8, 16, 16, 16), "shifted", 0, 0, tuple("01234567"))
    upload = cache.Private(uploaded.file_id)
    arrays = cache.keep("array", (), lambda: read_arrays(uploaded.getvalue(), uploaded.name), [upload])
    name = st.selectbox("Array in the file", list(arrays), key="array-name") if len(arrays) > 1 else next(iter(arrays))
    x = arrays[name]
    layout = layout_of(x.shape)
    st.caption(f"{uploaded.name} {name}: {' × '.join(map(str, x.shape))}, read as ({SHAPES[layout]}).")
    return Source(x.float(), layout, (uploaded.file_id, name), True, None, tuple(f"{i}" for i in range(x.shape[0])))


def _of_table() -> Source:
    chosen = table_picker.pick()
    table = chosen.table
    st.caption(" ".join(table.remarks()) + f" N rows, C columns: {', '.join(table.columns)}.")
    x = table.values.float()  # (N, C)
    names = tuple(f"{i}" for i in range(len(x)))
    return Source(x, "nc", ("table", chosen.identity), chosen.private, None, names)

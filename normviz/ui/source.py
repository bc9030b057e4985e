"""The activations that a page works on: generated ones, or those that a photo causes in the embedded network."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import streamlit as st
import torch
from torch import Tensor

from normviz.activations import DESCRIPTIONS, DISTRIBUTIONS, LAYOUTS, Layout
from normviz.attribution import Probe, layers
from normviz.models.catalogue import Classifier, load_classifier
from normviz.samples import SAMPLES
from normviz.ui import cache, state
from normviz.ui.photo import pick, sample_pixels

SHAPES: dict[Layout, str] = {"nc": "N, C", "ntd": "N, T, D", "nchw": "N, C, H, W"}
SIZES: dict[str, tuple[int, ...]] = {
    "N": (1, 2, 4, 8, 16, 32),
    "C": (1, 2, 4, 8, 12, 16, 32, 64),
    "D": (1, 2, 4, 8, 12, 16, 32, 64),
    "T": (1, 2, 4, 8, 12, 16, 32, 64),
    "H": (1, 2, 4, 8, 16, 28, 56),
    "W": (1, 2, 4, 8, 16, 28, 56),
}
DEFAULTS = {"N": 8, "C": 16, "D": 16, "T": 12, "H": 16, "W": 16}


@dataclass(frozen=True)
class Source:
    """Activations and what is known of them.

    Attributes:
        x: the activations; shared, never write into them.
        layout: "nc", "ntd" or "nchw".
        key: names them in a shared cache, or None where they come from a visitor's own photo.
        running: the running mean and variance (C,) that the network stored for them, or None.
        names: what each example is called.
    """

    x: Tensor
    layout: Layout
    key: Hashable | None
    running: tuple[Tensor, Tensor] | None
    names: tuple[str, ...]


def choose() -> Source:
    """Draw the widgets that choose the activations, and return them."""
    if state.segments("Activations of", ("generated", "photo"), "generated", "source") == "generated":
        return _generated()
    return _of_photo()


def _generated() -> Source:
    layout = state.segments("Shape", LAYOUTS, "nchw", "shape", text=SHAPES.__getitem__)
    shape = []
    for first in range(0, len(layout), 2):  # row by row, so that a phone stacks them in their order
        for letter, column in zip(layout[first : first + 2].upper(), st.columns(2, gap="small"), strict=False):
            with column:
                shape.append(state.select(letter, SIZES[letter], DEFAULTS[letter], letter))
    distribution = state.select(
        "Values", DISTRIBUTIONS, "shifted", "values", help="; ".join(f"{k}: {v}" for k, v in DESCRIPTIONS.items())
    )
    seed = state.number("Seed", 0, 9999, 0, "seed", help="The same seed gives the same numbers on every machine.")
    key = (tuple(shape), distribution, seed)
    names = tuple(f"{i}" for i in range(shape[0]))
    return Source(cache.activations(*key), layout, key, None, names)


def _of_photo() -> Source:
    photo = pick()
    classifier = load_classifier()
    others = state.slider("Other photos in the batch", 0, 5, 3, "others", help="Samples: a batch needs company.")
    names = normalized_layers(classifier)
    layer = state.select("Into the norm after", list(names), list(names)[-2], "norm-layer", text=names.__getitem__)
    companions = [name for name in SAMPLES if name != photo.sample][:others]
    key = ("photo", photo.sample, tuple(companions), layer) if photo.sample else None

    def run() -> Tensor:
        pictures = [
            photo.image,
            *(torch.from_numpy(sample_pixels(name).copy()).permute(2, 0, 1) for name in companions),
        ]
        images = torch.cat([classifier.prepare(picture) for picture in pictures])  # (N, 3, H, W)
        return cache.compute(lambda: Probe(classifier.model, images, layer=layer).activations)  # (N, C, h, w)

    norm = classifier.model.get_submodule(layer.removesuffix("conv") + "norm")
    mean, variance = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    running = (mean, variance) if isinstance(mean, Tensor) and isinstance(variance, Tensor) else None
    x = cache.memo(key, run) if key else run()
    return Source(x, "nchw", key, running, (photo.name, *(SAMPLES[name] for name in companions)))


def normalized_layers(classifier: Classifier) -> dict[str, str]:
    """The convolutions of the classifier whose output is normalized next, each with its name and shape in words."""

    def find() -> dict[str, str]:
        blank = torch.zeros(3, 8, 8, dtype=torch.uint8)  # (3, 8, 8)
        shapes = layers(classifier.model, classifier.prepare(blank))
        return {
            name: f"{name} {' × '.join(map(str, shape))}"
            for name, shape in shapes
            if name.endswith(".conv") and hasattr(classifier.model.get_submodule(name[:-4] + "norm"), "weight")
        }

    return cache.memo(("normalized layers", classifier.name), find)

"""The two previews on the home page, computed at the start of the app."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from normviz.activations import generate
from normviz.attribution import Probe, grad_cam
from normviz.figures.maps import blend, data_uri
from normviz.figures.style import AFTER, BEFORE
from normviz.images import decode
from normviz.models.catalog import load_classifier
from normviz.normalization import batch_norm
from normviz.samples import load_sample
from normviz.ui.kit import cache

WIDTH, HEIGHT = 360, 240  # pixels of each half
BINS, SPAN = 90, 8.0


@dataclass(frozen=True)
class Half:
    """One half of a preview: its URL, its alternative text, and its caption."""

    source: str
    alt: str
    caption: str


def pictures() -> tuple[tuple[Half, Half], tuple[Half, Half]]:
    """Both halves of the heatmap preview and of the normalization preview, computed once and shared."""
    return cache.keep("home previews", (), lambda: (_heatmap(), _normalization()))


def _heatmap() -> tuple[Half, Half]:
    """A photo, and its evidence for the predicted class."""
    photo = decode(load_sample("chelsea"))  # (3, H, W)
    plain = Half(_data_uri(photo.permute(1, 2, 0).numpy()), "A photo of a cat.", "your photo")
    try:
        classifier = load_classifier()
    except ValueError as error:  # the other pages work without a classifier
        return plain, Half(plain.source, plain.alt, f"no heatmap: {error}")
    probe = Probe(classifier.model, classifier.prepare(photo))
    heat = grad_cam(probe)[0].cpu().numpy()  # (14, 14)
    lit = blend(photo.permute(1, 2, 0).numpy(), heat, opacity=0.55)  # (H, W, 3)
    name = classifier.classes[int(probe.target)]
    return plain, Half(_data_uri(lit), "The photo, bright where the evidence is.", f"evidence for “{name}”")


def _data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) at display size, as a data URI."""
    return data_uri(np.asarray(Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)))


def _normalization() -> tuple[Half, Half]:
    """Histograms of six channels before and after batch normalization."""
    x = generate((16, 6, 24, 24), "shifted", seed=39)  # (N, C, H, W)
    y = batch_norm(x)  # (N, C, H, W)
    return (
        Half(_ridges(x, BEFORE), "Six histograms with different means and widths.", "six channels, before"),
        Half(_ridges(y, AFTER), "Six histograms, all centered at 0 with equal width.", "after batch normalization"),
    )


def _ridges(values: Tensor, color: str) -> str:
    """One histogram per channel on a common axis from -SPAN to SPAN with 0 marked, as the data URI of an SVG."""
    step = (HEIGHT - 60) / (values.shape[1] - 1)
    style = f'fill="{color}" fill-opacity=".4" stroke="{color}" stroke-width="1.8" stroke-linejoin="round"'
    lines = [f'<path d="M{WIDTH / 2} 0V{HEIGHT}" stroke="#808890" stroke-dasharray="3 4"/>']
    for channel in range(values.shape[1]):
        counts = torch.histc(values[:, channel], bins=BINS, min=-SPAN, max=SPAN)  # (BINS,)
        heights = (counts / counts.max() * 1.3 * step).tolist()
        base = 52 + step * channel
        hill = " ".join(f"{WIDTH * (i + 0.5) / BINS:.1f},{base - h:.1f}" for i, h in enumerate(heights))
        lines.append(f'<polygon points="0,{base:.1f} {hill} {WIDTH},{base:.1f}" {style}/>')
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(lines)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()

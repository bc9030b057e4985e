"""The two pictures on the home page, computed by this very program when it starts."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from normviz.activations import generate
from normviz.device import device
from normviz.figures.maps import blend, data_uri
from normviz.figures.style import AFTER, BEFORE
from normviz.models.photos import ASSETS, MEAN, STD
from normviz.ui import cache

WIDTH, HEIGHT = 360, 240  # pixels of each half of a picture
BINS = 90


@dataclass(frozen=True)
class Half:
    """One half of a picture: its address, its description for those who cannot see it, its caption."""

    source: str
    alt: str
    caption: str


def pictures() -> tuple[tuple[Half, Half], tuple[Half, Half]]:
    """The heatmap's and the normalization's two halves, computed once and shared."""
    return cache.memo("doors", lambda: (_heatmap(), _normalization()))


def _heatmap() -> tuple[Half, Half]:
    """A photo, and the evidence that the network found in it for the class it names."""
    cat = Image.fromarray(data.chelsea())  # type: ignore[no-untyped-call]
    image = cat.crop((0, 0, 450, 300)).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    photo = np.asarray(image)  # (HEIGHT, WIDTH, 3)
    pixels = torch.tensor(np.asarray(image.resize((224, 224))) / 255, dtype=torch.float32)  # (224, 224, 3)
    x = ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)[None].to(device())  # (1, 3, 224, 224)
    model, classes = cache.classifier()
    with torch.no_grad():
        features = model.features(x)  # (1, K, 14, 14)
        best = int(model.fc(features.mean(dim=(2, 3))).argmax())
        evidence = torch.einsum("k,khw->hw", model.fc.weight[best], features[0]).relu()  # (14, 14)
    lit = blend(photo, evidence.cpu().numpy(), opacity=0.55)  # (HEIGHT, WIDTH, 3)
    return (
        Half(data_uri(photo), "A photo of a cat.", "your photo"),
        Half(data_uri(lit), "The same photo, bright where the evidence lies.", f"evidence for “{classes[best]}”"),
    )


def _normalization() -> tuple[Half, Half]:
    """The values of six channels before and after each was normalized over the batch and all positions."""
    x = generate((16, 6, 24, 24), "shifted", seed=4)  # (N, C, H, W)
    y = F.batch_norm(x, None, None, training=True)  # (N, C, H, W)
    low, high = float(x.min()), float(x.max())
    return (
        Half(_ridges(x, low, high, BEFORE), "Six hills, each with its own place and width.", "six channels, before"),
        Half(_ridges(y, low, high, AFTER), "Six hills, all centred on 0 and equally wide.", "after batch normalization"),
    )


def _ridges(values: Tensor, low: float, high: float, colour: str) -> str:
    """One hill a channel, all on one axis from `low` to `high` with 0 marked, as an SVG's address."""
    step, zero = (HEIGHT - 60) / (values.shape[1] - 1), WIDTH * (0 - low) / (high - low)
    style = f'fill="{colour}" fill-opacity=".4" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"'
    lines = [f'<path d="M{zero:.1f} 0V{HEIGHT}" stroke="#808890" stroke-dasharray="3 4"/>']
    for channel in range(values.shape[1]):
        counts = torch.histc(values[:, channel], bins=BINS, min=low, max=high)  # (BINS,)
        heights = (counts / counts.max() * 1.3 * step).tolist()
        base = 52 + step * channel
        hill = " ".join(f"{WIDTH * (i + 0.5) / BINS:.1f},{base - h:.1f}" for i, h in enumerate(heights))
        lines.append(f'<polygon points="0,{base:.1f} {hill} {WIDTH},{base:.1f}" {style}/>')
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(lines)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()

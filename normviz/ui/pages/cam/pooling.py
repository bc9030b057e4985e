"""The section on global average pooling: the contribution of each channel to the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.attribution.diagnosis.pooling import Pooling, pooling
from normviz.html import pooling as figure
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.map_request import MapRequest

LARGEST, SMALLEST = 6, 3  # number of channels to show, by contribution


@dataclass(frozen=True)
class Pooled:
    """A score as a sum over channels, and the feature maps of the channels to show, {channel: (h, w)}."""

    pooling: Pooling
    maps: dict[int, NDArray[np.float32]]


def section(request: MapRequest) -> None:
    """Draw a table of the largest and smallest contributions, the sum of the others, the bias and the score."""
    result = cache.keep("pooling", request.key, lambda: jobs.compute(lambda: _decompose(request)), request.photos)
    parts, amounts = result.pooling, result.pooling.contribution
    channels = [
        figure.Channel(k, values, float(parts.mean[k]), float(parts.weight[k]), float(amounts[k]))
        for k, values in result.maps.items()
    ]
    others = parts.total - sum(channel.contribution for channel in channels)
    lines = [figure.Line(f"the {len(amounts) - len(channels)} other channels", others)]
    lines.append(figure.Line("bias" if parts.pooled else "biases and nonlinearities of later layers", parts.rest))
    lines.append(figure.Line("the score" if request.like else "the logit", parts.score, strong=True))
    st.markdown(
        f"Each feature map of layer **{request.layer}** is averaged over its cells. The mean times its weight is the "
        f"contribution of the channel to **{request.name}**."
    )
    st.html(figure.contributions(channels, lines, "cosine" if request.like else "logits"))
    st.caption(parts.describe())


def _decompose(request: MapRequest) -> Pooled:
    """Decompose the score, and select the feature maps of the largest and smallest contributions."""
    probe = request.probe()
    parts = pooling(probe)
    order = parts.order.tolist()
    count = min(LARGEST + SMALLEST, len(order))
    smallest = max(count - LARGEST, 0)
    shown = order[: count - smallest] + order[len(order) - smallest :]
    maps = {k: probe.activations[0, k].float().cpu().numpy() for k in shown}
    return Pooled(Pooling(parts.mean.cpu(), parts.weight.cpu(), parts.score, parts.pooled, parts.bias), maps)

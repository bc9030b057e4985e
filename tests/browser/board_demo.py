"""A small app for the browser test of the board: a batch norm, a photo with its map, padded sequences, odd charts."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from normviz.figures import formula, maps, style
from normviz.figures.normalization import cube, distributions, tensors
from normviz.ui.components.board import Panel, asset_routes, board

N, C, H = 16, 64, 56


@st.cache_resource
def activations() -> np.ndarray:
    random = np.random.default_rng(0)
    x = random.standard_normal((N, C, H, H), dtype=np.float32) * np.exp(random.normal(size=(C, 1, 1)) * 0.7)
    return (x + 3 * random.normal(size=(C, 1, 1))).astype(np.float32)


@st.cache_resource
def moments() -> tuple[np.ndarray, np.ndarray]:
    x = activations()
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def counts(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.histogram(np.clip(values, low, high), bins=60, range=(low, high))[0]


@st.fragment
def normalize() -> None:
    view = st.radio("Slice", ["H × W", "N × C"], key="view", horizontal=True)
    eps = st.select_slider("ε", [1e-5, 1e-3, 0.01, 0.1, 0.5, 1.0], value=1e-5, key="eps")
    gain = st.slider("γ", 0.5, 2.0, 1.0, 0.01, key="gain")
    x, (mean, var) = activations(), moments()
    channels = np.arange(C)
    shown = st.session_state.get("channel", 3)
    before, ids = (x[0, shown], shown) if view == "H × W" else (x[:, :, 28, 28], np.broadcast_to(channels, (N, C)))
    at = shown if view == "H × W" else channels
    after = gain * (before - mean[at]) / np.sqrt(var[at] + eps)
    low, high = style.limits(before, after)
    sample = x[0, :, ::4, ::4].reshape(C, -1)
    sample_after = gain * (sample - mean[:, None]) / np.sqrt(var[:, None] + eps)
    per_before = np.stack([counts(row, -10, 10) for row in sample])
    per_after = np.stack([counts(row, -10, 10) for row in sample_after])
    block = np.broadcast_to(np.arange(12)[None, :, None], (6, 12, 6))
    axes = ("H", "W") if view == "H × W" else ("N", "C")
    figures = {
        "Which cells share a mean and a variance": cube.shared_axes_cube(block, ("N", "C", "H, W"), (N, C, H * H)),
        "Before": tensors.slice_heatmap(before, low, high, ids, axes, "before"),
        "After": tensors.slice_heatmap(after, low, high, ids, axes, "after"),
        "Distribution of the values": distributions.before_after(
            per_before.sum(0), per_after.sum(0), -10, 10, per_before, per_after
        ),
    }
    names = ("cube", "before", "after", "bars")
    panels = [
        Panel(name, title, figure, span=2 if name == "bars" else 1, alt=f"{title}, of the demo.")
        for name, (title, figure) in zip(names, figures.items(), strict=True)
    ]
    std = np.sqrt(var)
    table = formula.GroupStatistics(
        channels, [f"channel {c}" for c in channels], mean, std, 0 * mean, gain * std / np.sqrt(var + eps)
    )

    def pick(text: str) -> None:
        kind, _, place = text.partition(":")
        numbers = [int(number) for number in place.split(",")] if place else []
        st.session_state["clicked"] = text
        if kind == "cube":
            st.session_state["channel"] = numbers[1]
        st.session_state["cell"] = (tuple(numbers) or None) if kind == "slice" else (9 * numbers[2], 5)

    linked = st.query_params.get("cell")
    cell = st.session_state.get("cell", tuple(map(int, linked.split(","))) if linked else None)
    board(panels, "norm", formula.normalization(table, eps, gain, title="64 statistics over N, H, W", cell=cell), pick)
    st.write(f"Clicked: {st.session_state.get('clicked')}")


@st.fragment
def attribution() -> None:
    rows, columns = np.mgrid[0:300, 0:450]
    image = np.stack([rows * 255 / 300, columns * 255 / 450, 128 + 0 * rows], axis=2).astype(np.uint8)
    y, x = np.mgrid[0:14, 0:14]
    opacity = st.slider("Opacity", 0.0, 1.0, 0.5, key="opacity")
    chosen = st.session_state.get("class", "cat")
    values = 7.5 * np.exp(-((x - (9 if chosen == "cat" else 3)) ** 2 + (y - 5) ** 2) / 6)
    names = ["cat", "dog", "tench", "church", "parachute"]
    bars = maps.class_bars(names, [0.89, 0.06, 0.04, 0.0099, 0.0001], chosen)
    panels = [
        Panel("photo", "Photo", maps.photo(image, values.shape), alt="The photo."),
        Panel("map", "Map", maps.heat(values, unit="logits", aspect=1.5), alt="The map."),
        Panel("overlay", "Map over the photo", maps.overlay(image, values, opacity), alt="Both."),
        Panel("classes", "Most probable classes", bars, span=2, height=220),
    ]

    def choose(name: str) -> None:
        st.session_state["class"] = name

    board(panels, "cam", formula.attribution("logits"), on_click=choose)
    st.write(f"Chosen: {chosen}")


@st.fragment
def sequences() -> None:
    real = np.arange(20)[None, :] < np.array([20, 13, 6, 17])[:, None]  # (n, t)
    values = np.where(real[1][:, None], np.random.default_rng(1).normal(size=(20, 8)), 0.0)  # (t, d)
    groups = np.where(real[1][:, None], np.arange(8), 8)  # (t, d)
    block = np.where(real[:, None, ::4], np.arange(8)[None, :, None], 8)  # (n, d, t)
    size = st.slider("Largest", 1.0, 4.0, 3.0, key="largest")
    slices = {
        role: tensors.slice_heatmap(values, -size, size, groups, ("T", "D"), role, padding=8)
        for role in ("before", "after")
    }
    table = formula.GroupStatistics(np.arange(8), [f"feature {d}" for d in range(8)], *np.ones((4, 8)))
    figures = {"cube": cube.shared_axes_cube(block, ("N", "D", "T"), (4, 8, 20), padding=8), **slices}
    panels = [Panel(f"padded-{name}", name, figure, height=260) for name, figure in figures.items()]
    board(panels, "padded", formula.normalization(table, 1e-5), columns=2)


@st.fragment
def others() -> None:
    bend = st.slider("Bend", 0.5, 2.0, 1.0, key="bend")
    grid = np.linspace(-1, 1, 12)
    surface = go.Surface(x=grid, y=grid, z=bend * (grid[:, None] ** 2 - grid[None] ** 2), showscale=False)
    slices = go.Pie(labels=["cat", "dog"], values=[bend, 1])
    panels = [
        Panel("surface", "A surface", style.figure([surface]), height=260),
        Panel("pie", "Shares", go.Figure(slices), height=260),
    ]
    board(panels, "others", columns=2)


if __name__ == "__main__":
    st.set_page_config(layout="wide", page_title="Board")
    st.title("Board")
    normalize()
    attribution()
    left, right = st.columns(2)
    with left:
        sequences()
    with right:
        others()
else:
    app = st.App(__file__, routes=asset_routes())

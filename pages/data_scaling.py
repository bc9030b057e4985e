"""Data scaling: what it does to the columns of a table, or to a photo."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from normviz.figures import maps, style, tables
from normviz.registry import Method, Value, get, methods
from normviz.tables import photo_rows, rows_photo, split
from normviz.ui import cache, frame, knobs, photo, state
from normviz.ui.board import Panel, board
from normviz.ui.table import pick

METHODS = [method.name for method in methods("normalization") if method.family == "scaling"]
LONGEST = 360  # pixels: a photo is reduced to this before it is scaled
WORDS = {
    "mean": "mean", "median": "median", "min": "smallest value", "std": "standard deviation", "range": "range",
    "largest": "largest absolute value", "iqr": "distance of the quartiles",
}  # fmt: skip
HELP = """
**Why scale at all?** Whatever compares rows by distance, or learns with one step size for all columns, sees the column
with the largest numbers and little else. The last column of the table says how much of the distance between two rows
each column makes up, on average.

**Training rows and new rows.** A model sees new rows only after it was trained. So the numbers of the scaling come from
the training rows alone, and new rows are scaled with them; they may then lie outside the range of the training rows.
Taking the numbers from all rows lets the new ones leak into the training.

Min-max, z-score, max-abs and robust scaling move and stretch each column: the shape of its histogram stays. **ZCA
whitening** also turns the cloud of points, so that no two columns are correlated, and stays as close as it can to the
data. **Unit length** works on rows: each point is pulled or pushed onto the sphere of radius 1.

**A photo is a table, too**: each pixel is a row, and red, green and blue are its columns. Scaling each colour by itself
removes a tint; unit length removes shadows and keeps the hue; ZCA of small patches keeps what a pixel's neighbours do
not tell already: edges.
"""
frame.page("Data scaling", "What does scaling do to the columns of a table, or to a photo?")


@dataclass(frozen=True)
class Scaled:
    """Columns before and after: (rows, columns) numbers, and which rows are for training."""

    columns: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    train: NDArray[np.bool_]


def scaled(method: Method, x: Tensor, train: Tensor, settings: dict[str, Value]) -> Tensor:
    """The rows (N, C), scaled with what the training rows (N,) tell, where the method asks for them."""
    given = {"train": x[train]} if method.takes("train") else {}
    y: Tensor = method.function(x, **given, **settings)  # (N, C)
    return y


def fitted(method: Method, rows: str, of: str) -> str:
    """What is taken from which rows, in one sentence."""
    if not method.takes("train"):
        return f"Nothing is learned from the data: each {of} is divided by its own length."
    taken = [WORDS[word] for word in (method.centre, method.scale) if word]
    what = f"the {' and the '.join(taken)} of each column" if taken else "the means and covariances of the columns"
    return f"From {rows} come {what}."


def correlation(pair: NDArray[np.float64]) -> str:
    """The correlation of two columns (N, 2), in two digits, or a dash where one of them does not vary."""
    x, y = (pair - pair.mean(0)).T  # (N,), (N,)
    size = float(np.sqrt((x @ x) * (y @ y)))
    return f"{round(float(x @ y) / size, 2) + 0.0:.2f}".replace("-", "−") if size else "–"


def table_panels(seen: Scaled, across: int, up: int) -> list[Panel]:
    """All columns on one axis, two of them against each other, and one of them as a histogram, before and after."""
    names, shown = seen.columns, min(len(seen.columns), tables.MOST_STRIPS)
    more = f"The first {shown} of {len(names)} columns." if len(names) > shown else ""
    pair = [names[across], names[up]]
    panels = []
    for side, values, colour in (("before", seen.before, style.BEFORE), ("after", seen.after, style.AFTER)):
        figure = tables.strips(values, names, seen.train, colour)
        title, alt = f"All columns on one axis, {side}", f"{shown} columns on one axis {side} the scaling."
        panels.append(Panel(f"strips-{side}", title, figure, 1, alt, more, 110 + 62 * shown))
    for side, values, colour in (("before", seen.before, style.BEFORE), ("after", seen.after, style.AFTER)):
        figure = tables.scatter(values[:, [across, up]], pair, seen.train, colour, one_scale=side == "after")
        note = "Each axis in its own unit" if side == "before" else "Both axes have one scale"
        note += f"; correlation {correlation(values[seen.train][:, [across, up]])}."
        alt = f"{pair[1]} against {pair[0]} {side} the scaling."
        panels.append(Panel(f"scatter-{side}", f"Two columns, {side}", figure, 1, alt, note, 440))
    for side, values, colour in (("before", seen.before, style.BEFORE), ("after", seen.after, style.AFTER)):
        figure = tables.histogram(values[:, across], pair[0], seen.train, colour)
        alt = f"Histogram of {pair[0]} {side} the scaling."
        panels.append(Panel(f"bars-{side}", f"One column, {side}", figure, 1, alt, "", 320))
    return panels


def of_table(method: Method, settings: dict[str, Value], right: st.delta_generator.DeltaGenerator) -> None:
    """Scale a table: its widgets here, its pictures on the right."""
    table, name = pick()
    for remark in table.remarks():
        st.caption(remark)
    share = state.slider("Training rows", 10, 100, 70, "share", step=5, format="%d %%")
    seed = state.number("Seed", 0, 9999, 0, "seed", help="Deals the rows out into training and new ones.")
    names = table.columns
    across = names.index(state.select("Column across", names, names[-1], "across"))
    up = names.index(state.select("Column up", names, names[0], "up"))
    train = split(len(table.values), share / 100, seed)  # (rows,)

    def run() -> Scaled:
        after = scaled(method, table.values, train, settings)
        return Scaled(table.columns, table.values.numpy(), after.numpy(), train.numpy())

    key = ("scaled", name, method.name, *settings.items(), share, seed)
    seen = cache.memo(key, lambda: cache.compute(run)) if name else cache.compute(run)
    known, new = int(seen.train.sum()), int((~seen.train).sum())
    with right, frame.guard():
        board(table_panels(seen, across, up), "scaling-table", columns=2)
        said = [fitted(method, f"the {known:,} training rows alone", "row")]
        if new and method.takes("train"):
            inside = seen.before[seen.train]
            beyond = (seen.before < inside.min(0)) | (seen.before > inside.max(0))
            said.append(
                f"The {new:,} new rows are scaled with the same numbers; in {int(beyond.any(1).sum()):,} of them"
            )
            said.append("a value lies outside the range of the training rows.")
        st.markdown(" ".join(said))
        st.html(tables.statistics(seen.columns, seen.before[seen.train], seen.after[seen.train]))
        st.caption("Numbers of the training rows. Share of distance: the column's part of all variance.")


def as_photo(values: NDArray[np.float64], width: int, patch: int, low: float, high: float) -> NDArray[np.uint8]:
    """Rows drawn as a photo (H, W, 3): `low` is black and `high` is white in all three colours."""
    picture = rows_photo(torch.from_numpy((values - low) / (high - low)), width, patch)  # (3, H', W')
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def of_photo(method: Method, settings: dict[str, Value], right: st.delta_generator.DeltaGenerator) -> None:
    """Scale a photo: its widgets here, its pictures on the right."""
    chosen = photo.pick()
    patch = 1
    if method.name == "zca_whitening":
        rows = state.segments("One row is", ("a pixel", "a patch"), "a pixel", "row")
        if rows == "a patch":
            patch = state.steps("Patch, pixels a side", (2, 4, 6, 8, 12), 4, "patch")

    def run() -> tuple[Tensor, Tensor]:
        image = chosen.image.float() / 255  # (3, H, W)
        least = LONGEST / max(image.shape[1:])
        if least < 1:
            image = F.interpolate(image[None], scale_factor=least, mode="bilinear", antialias=True)[0]  # (3, h, w)
        rows = photo_rows(image, patch)  # (pixels or patches, 3 patch²)
        return image, scaled(method, rows, torch.ones(len(rows), dtype=torch.bool), settings)

    key = ("scaled photo", chosen.sample, method.name, *settings.items(), patch)
    image, result = cache.memo(key, lambda: cache.compute(run)) if chosen.sample else cache.compute(run)
    before, after = photo_rows(image, patch).double().numpy(), result.double().numpy()  # both (rows, 3 patch²)
    low, high = (float(end) for end in np.quantile(after, [0.005, 0.995]))
    sides = (("before", before, 0.0, 1.0), ("after", after, low, high if high > low else low + 1.0))
    with right, frame.guard():
        panels = []
        for side, values, black, white in sides:
            picture = maps.photo(as_photo(values, image.shape[2], patch, black, white))
            picture.update_layout(margin={"b": 8})
            note = f"Black is {black:.2g} and white is {white:.2g} in all three colours.".replace("-", "−")
            title = f"{chosen.name[0].upper()}{chosen.name[1:]}, {side}"
            panels.append(Panel(side, title, picture, 1, f"The photo {side} the scaling.", note, 420))
        for side, values, _, _ in sides:
            figure = tables.colour_histogram(values.reshape(-1, 3))
            panels.append(Panel(f"bars-{side}", f"Values, {side}", figure, 1, f"Three histograms {side}.", "", 320))
        board(panels, "scaling-photo", columns=2)
        table = f"A row of the table is {'a pixel' if patch == 1 else f'a patch of {patch} × {patch} pixels'}"
        columns = "red, green and blue" if patch == 1 else f"the {3 * patch**2} colour values in it"
        rows = f"this photo's own {len(before):,} {'pixels' if patch == 1 else 'patches'}"
        st.markdown(f"{table}, its columns are {columns}. {fitted(method, rows, 'pixel')}")
        st.html(tables.statistics(tuple(tables.COLOURS), before.reshape(-1, 3), after.reshape(-1, 3)))


@st.fragment
def work() -> None:
    """The part that answers to every knob."""
    left, right = frame.columns()
    with left, frame.guard():
        source = state.segments("Scale", ("a table", "a photo"), "a table", "data")
        method = get(state.select("Scaling", METHODS, "z_score", "method", text=lambda name: get(name).title))
        settings = knobs.knobs(method)
        (of_table if source == "a table" else of_photo)(method, settings, right)
        with right, frame.guard():
            st.latex(method.formula)
            st.markdown(f"**When:** {method.use} **Trap:** {method.trap}")
            frame.how_to_read(HELP)


work()

"""Class activation maps: which pixels made the network choose a class?"""

import io
from collections.abc import Callable

import numpy as np
import streamlit as st

from normviz.figures import formula, maps, style
from normviz.images import encode_png
from normviz.models.catalogue import SIZE, SIZES, load_classifier
from normviz.registry import get, methods
from normviz.ui import explain, frame, knobs, state
from normviz.ui.board import Panel, board
from normviz.ui.explain import Explained, Question
from normviz.ui.photo import pick

TOP = "most probable"
FINER = "Larger photos give finer maps; at 128 px the network is best at saying that it does not know."
HELP = """
The map shows, cell by cell, how much the chosen layer's features speak for the class: bright is much, dark is nothing.
It says where the network found evidence, not whether the evidence is good, and it is as coarse as the layer: at the
last one a cell is a square of 16 pixels. Choose another class to see what speaks for that one, and a layer further
down the list to see finer, less meaningful features.
"""

frame.page("Class activation maps", "Which pixels made the network choose this class?")


def panels(asked: Question, seen: Explained, opacity: float, colours: style.ColourMap) -> list[Panel]:
    """Photo, map and overlay, side by side."""
    photo, drawn, signed = asked.photo, seen.drawn, seen.signed
    rows, columns = drawn.shape
    aspect = photo.pixels.shape[1] / photo.pixels.shape[0]
    title, unit = asked.method.title, asked.method.unit
    return [
        Panel("photo", photo.name[0].upper() + photo.name[1:], maps.photo(photo.pixels, drawn.shape), alt=photo.name),
        Panel("map", f"{title}: {asked.name}", maps.heat(drawn, signed, unit, colours, aspect),
              alt=f"{title} of {asked.name}, {rows} x {columns} cells"),
        Panel("overlay", "The map over the photo", maps.overlay(photo.pixels, drawn, opacity, colours, signed),
              alt=f"The photo, lit where {asked.name} was seen"),
    ]  # fmt: skip


def downloads(asked: Question, seen: Explained, opacity: float, colours: style.ColourMap) -> None:
    """Overlay, raw map, and the lines that make it."""
    raw = io.BytesIO()
    np.save(raw, seen.raw)
    picture = encode_png(maps.blend(asked.photo.pixels, seen.drawn, opacity, colours, seen.signed))
    stem = f"{asked.name.replace(' ', '_')}_{asked.method.name}"
    left, middle, right = st.columns(3)
    left.download_button("Overlay (PNG)", picture, f"{stem}.png", "image/png", on_click="ignore", width="stretch")
    middle.download_button("Raw map (.npy)", raw.getvalue(), f"{stem}.npy", on_click="ignore", width="stretch")
    right.download_button("Python lines", asked.script(), f"{stem}.py", on_click="ignore", width="stretch")
    with st.expander("The Python lines that make this map"):
        st.code(asked.script(), "python")


def choose() -> tuple[Question, float, style.ColourMap]:
    """Draw the knobs; the question, the opacity and the colours."""
    photo = pick()
    size = state.select("Photo size for the network", SIZES, SIZE, "size", text="{} px".format, help=FINER)
    classifier = load_classifier(size=size)
    names = [method.name for method in methods("attribution")]
    method = get(state.select("Method", names, "grad_cam", "method", text=lambda name: get(name).title))
    wanted = state.select("Class", [TOP, *classifier.classes], TOP, "class")
    best = int(explain.probabilities(classifier, photo).argmax())
    target = best if wanted == TOP else classifier.index(wanted)
    shapes = explain.feature_layers(classifier, photo)
    layer = next(iter(shapes))
    if explain.reads_layer(method):
        text = {name: f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items()}
        layer = state.select("Layer", list(text), layer, "layer", text=text.__getitem__)
    opacity = state.slider("Opacity of the map", 0.0, 1.0, 0.55, "opacity", step=0.05)
    colours = state.select("Colours", style.COLOUR_MAPS[:-1], style.COLOUR_MAPS[0], "colours")
    return Question(photo, classifier, method, target, layer, knobs.knobs(method)), opacity, colours


def bar(place: st.delta_generator.DeltaGenerator, title: str) -> Callable[[float], object]:
    """A progress bar that names what takes long."""
    return lambda done: place.progress(done, f"{title}: asking the network about masked photos, {done:.0%}")


def show(asked: Question, opacity: float, colours: style.ColourMap) -> None:
    """The verdict, the pictures, the classes, the formula, the downloads."""
    share = explain.probabilities(asked.classifier, asked.photo)  # (classes,)
    verdict = asked.classifier.verdict(share)
    said = f"The network says: {verdict.text}." if verdict.known else f"{verdict.text}."
    frame.sentence(said, "good" if verdict.known else "hint")
    place = st.empty()
    seen = explain.explain(asked, bar(place, asked.method.title))
    place.empty()
    if seen.reason:
        frame.sentence(f"The map is empty: {seen.reason}.", "hint")
    top = share.topk(5)
    names = [asked.classifier.classes[index] for index in top.indices.tolist()]
    bars = maps.class_bars(names, top.values.tolist(), asked.name)
    classes = Panel("classes", "The five most probable classes: click one to see its map", bars, span=3, height=190)

    def clicked(name: str) -> None:
        st.session_state["class"] = name

    board(
        [*panels(asked, seen, opacity, colours), classes], "cam-board", formula.attribution(asked.method.unit), clicked
    )
    st.latex(asked.method.formula)
    if seen.terms:
        st.latex(seen.numbers())
    if seen.note:
        st.caption(seen.note)
    downloads(asked, seen, opacity, colours)
    frame.how_to_read(HELP)


@st.fragment
def work() -> None:
    """The part that answers to every choice."""
    left, right = frame.columns()
    with left, frame.guard():
        question = choose()
        with right, frame.guard():
            show(*question)


work()

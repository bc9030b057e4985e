"""Class activation maps: which pixels made the network choose a class?"""

import streamlit as st

from normviz.colors import OPACITY
from normviz.figures import style
from normviz.registry import Method
from normviz.ui import aim, anytime, cam, explain, frame, helps, knobs, layers, network, state
from normviz.ui.explain import Question
from normviz.ui.photo import pick

HELP = """
The map shows, cell by cell, how much the chosen layer's features speak for the class: bright is much, dark is nothing.
Where a method keeps the sign, orange speaks for it and blue against it. It says where the network found evidence, not
whether the evidence is good, and it is as coarse as the layer: the list of layers says how many cells each has. Choose
another class to see what speaks for that one. *Layers*, below the maps, says what each layer would show.

Methods marked *takes long* ask the network again and again about changed photos. They show what they have so far, an
approximation until they are finished. A line below the maps says how a map was made, where that is worth saying.
"""
FUSED = "Each layer gives a map of its own, and each cell takes the highest: deep layers know what, shallow ones where."

frame.page("Class activation maps", "Which pixels made the network choose this class?")


def choose() -> tuple[Question, float, style.ColourMap]:
    """Draw the knobs; the question, the opacity and the colours."""
    photo = pick()
    classifier = network.choose()
    method = cam.choose_method()
    asked = aim.choose(classifier, photo)
    shapes = explain.feature_layers(classifier, photo)
    text = {name: f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items()}
    layer, several = next(iter(shapes)), tuple[str, ...]()
    if explain.reads_layer(method):
        layer = state.select("Layer", list(text), layer, "layer", text=text.__getitem__, help=helps.SIZED_LAYER)
    elif method.takes("layers"):
        chosen = state.several("Layers to fuse", list(shapes), "layers", "the last of each size", help=FUSED)
        several = explain.in_depth_order(classifier, photo, chosen) if len(chosen) < len(shapes) else ()
    settings = knobs.knobs(method, hide=hidden(method, asked))
    opacity = state.slider("Opacity of the map", 0.0, 1.0, OPACITY, "opacity", step=0.05, help=helps.OPACITY)
    colours = state.select("Colours", style.COLOUR_MAPS[:-1], style.COLOUR_MAPS[0], "colours", help=helps.COLOURS)
    question = Question(photo, classifier, method, asked.target, layer, settings, asked.other, asked.like, several)
    return question, opacity, colours


def hidden(method: Method, asked: aim.Aim) -> tuple[str, ...]:
    """The knobs that say nothing here: with how many classes to compare, where the other class is named."""
    return ("similar",) if asked.other is not None and method.takes("other") else ()


def show(asked: Question, opacity: float, colours: style.ColourMap) -> None:
    """The verdict, the pictures, the classes, the section that was asked for, the downloads."""
    verdict = asked.classifier.verdict(explain.probabilities(asked.classifier, asked.photo))
    said = f"The network says: {verdict.text}." if verdict.known else f"{verdict.text}."
    frame.sentence(said, "good" if verdict.known else "hint")
    seen = anytime.answer(asked, opacity, colours)
    if seen.reason:
        frame.sentence(f"The map is blank: {seen.reason}.", "hint")
        layers.suggest(asked)
    cam.draw(asked, seen, opacity, colours)
    if seen.note:
        st.caption(seen.note)
    cam.sections(asked, seen)
    cam.downloads(asked, seen, opacity, colours)
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

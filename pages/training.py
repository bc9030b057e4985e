"""Training: watch a small network learn, with the normalization of your choice."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from normviz.figures.style import AFTER, BEFORE
from normviz.formatting import percent
from normviz.html import training as training_html
from normviz.html.training import Curve
from normviz.models.residual import NORMS, Norm
from normviz.ui.kit import cache, jobs, page_layout, url_widgets
from normviz.ui.pages import training
from normviz.ui.pages.training import Run

NAMES: dict[Norm, str] = {
    "batch": "batch norm", "group": "group norm", "layer": "layer norm", "instance": "instance norm", "none": "none",
}  # fmt: skip
RATES = (5e-4, 2e-3, 8e-3, 3.2e-2, 0.128)
SECONDS = (10, 20, 40, 60)
RUN = "tiny-run"  # what the visitor's session holds of the training
LEAD = (
    "Eight classes of objects. Outline and texture define the class; color, size, position and background do not. "
    "The network sees 3,000 scenes like these, flipped, rotated and recolored."
)
HELP = """
**What happens in a step.** The network classifies 32 scenes. The loss measures how far its probabilities are from the
labels: 2.08 is guessing between eight classes, and it cannot fall below 0.47 because of label smoothing. Then every
weight moves slightly in the direction that lowers the loss. The *learning rate* sets how far: if it is too small,
little happens in the time; if it is too large, the loss jumps. It warms up at first and decays to zero at the end.

**Training and test.** Blue-gray is the accuracy on the scenes of the step, orange on 200 test scenes that are never
trained on. Only the second shows whether the network generalizes.

**The maps** are Grad-CAM maps of the predicted class: the brighter a cell, the more it supports the prediction. Before
training they mean nothing. A trained network looks at the object, and most of the map lies on it. The cells are 8 × 8
pixels large, so part of the map always lies next to it.

**Try** another normalization with the same seed, or none: which one still learns at a high learning rate? Then try two
objects in a scene, or an unknown object: four scenes in each step show only clutter, so that the network learns to be
unsure.

The same seed gives the same initial weights and the same order of scenes. How many steps fit into the time depends on
the machine and on its load. The network stays in your session and is deleted with it.
"""

page_layout.header("training")


def stop() -> None:
    """Stop the training; the results so far are shown."""
    st.session_state[RUN].stopped = True


def choose() -> tuple[Run, str]:
    """Draw the widgets; the visitor's run, a new one if a setting has changed, and the kind of test scenes."""
    norm = url_widgets.select("Normalization", NORMS, "batch", "norm", text=NAMES.__getitem__)
    rate = url_widgets.steps("Learning rate", RATES, 8e-3, "rate", text="{:g}".format)
    seconds = url_widgets.steps("Training time (s)", SECONDS, 40, "seconds", text=str)
    seed = url_widgets.number(
        "Seed", 0, 999, 0, "seed", help="The seed of the initial weights and of the order of the scenes."
    )
    recipe = training.recipe(norm, seed, rate, float(seconds))
    run: Run | None = st.session_state.get(RUN)
    if run is None or run.recipe != recipe:
        run = st.session_state[RUN] = training.begin(recipe)
    return run, url_widgets.segments("Objects in the test scenes", training.KINDS, training.KINDS[0], "tests")


def start(run: Run) -> Run:
    """Draw the button that starts or resumes the training; the run, a new one if it was finished."""
    label = "Train" if not run.history else "Train again" if run.done else "Go on"
    if st.button(label, type="primary", disabled=not run.stopped):
        if run.done:
            run = st.session_state[RUN] = training.begin(run.recipe)
        run.stopped = False
    return run


def curves(run: Run) -> str:
    """Loss and accuracy so far."""
    steps = [at.step for at in run.history]
    last = max(steps[-1] / max(run.share, 0.02), 1)
    losses, shares = (
        training.smoothed([at.loss for at in run.history]),
        training.smoothed([at.accuracy for at in run.history]),
    )
    tests = [(at.step, at.tested) for at in run.history if at.tested is not None]
    loss = training_html.chart("Loss", [Curve("loss", BEFORE, list(zip(steps, losses, strict=True)))], last)
    right = [Curve("seen", BEFORE, list(zip(steps, shares, strict=True))), Curve("new", AFTER, tests)]
    return training_html.charts(loss, training_html.chart("Accuracy", right, last, 1.0, in_percent=True))


def go_on(run: Run, bar: jobs.Bar, place: DeltaGenerator) -> None:
    """Train in short slices and draw the curves after each, until the training is finished or stopped."""
    scenes = training.data(bar.watch("Generating the scenes"))
    while not run.done:
        jobs.give_way()
        jobs.compute(lambda: run.advance(scenes))
        bar.show("Training", run.share)
        place.html(curves(run))
    run.stopped = True


def verdict(run: Run) -> None:
    """Draw the accuracy reached, in one sentence."""
    steps = run.history[-1].step
    what = "Finished" if run.done else "Stopped"
    reached = f"it recognizes {percent(run.tested(), counted=True)} of 200 test scenes"
    page_layout.sentence(
        f"{what} after {steps:,} steps: {reached}. Guessing scores 12%.",
        "good" if run.tested() > 0.5 else "hint",
    )


def show(run: Run, kind: str) -> None:
    """Draw the training, and the predictions for the test scenes."""
    run = start(run)
    with jobs.Bar("training", stop) as bar:
        place = st.empty()
        if not run.stopped:
            if run.history:
                place.html(curves(run))
            go_on(run, bar, place)
            st.rerun()  # draws the button again
    if run.history:
        place.html(curves(run))
        verdict(run)
    else:
        with place.container():
            examples = training_html.samples(cache.keep("training examples", (), training.examples))
            st.html(f'<p class="nv-lead">{LEAD}</p>{examples}')
    st.markdown("#### Test scenes (never used for training)")
    scenes = training.tests(kind)
    first = training.begin(run.recipe).model
    trained = run.model if run.history else None
    st.html(training_html.cards(jobs.compute(lambda: training.cards(scenes, first, trained))))
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)

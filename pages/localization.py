"""Localization: does a map point at the object, where it is known to the pixel where the object is?"""

import math
import time
from collections.abc import Callable, Sequence

import streamlit as st

from normviz.evaluation.localization.benchmark import MEASURES
from normviz.evaluation.localization.questions import FIRST, Kind
from normviz.evaluation.localization.report import BASELINE_TITLES, SCENES, TITLES, Report, summary
from normviz.models.catalog import load_classifier
from normviz.registry import get, methods
from normviz.ui.kit import page_layout, tooltips, url_widgets
from normviz.ui.pages import localization
from normviz.ui.pages.localization import MEASURED, NOW

HELP = """
**The scenes** are generated: textured objects of eight classes on cluttered backgrounds that carry the same textures.
So it is known which pixels are the object, and no person had to draw them. The map is that of the class that is there,
whatever the network answers.

- **Pointing game** (Zhang 2018): how often the map's highest pixel lies on the object; no pixel of tolerance.
- **Energy inside** (Wang 2020): the share of the positive evidence that lies on the object. A map that is the same
  everywhere gets the object's share of the picture.
- **Best IoU**: how well the region above a threshold fits the object, at the threshold that is best for each picture.
- **Grid pointing game** (Böhle 2021, Rao 2022): four scenes in one picture; the share of the evidence for a class that
  lies in its quarter. Knowing nothing gives 25 %.

A number stands with its 95 % interval: with other scenes it would have come out within it 19 times in 20. Green is
clearly better than a spot at the center of the picture. A map without any evidence for the class scores 0. Methods that
take long were asked about fewer scenes; a cell says how many when it is pointed at.

A map that misses can be right: the network may really look at something beside the object. That the map is faithful is
another question (see Faithfulness).
"""

page_layout.header("localization")


def chosen_report(place: st.delta_generator.DeltaGenerator, network: str, kind: Kind) -> Report | None:
    """The numbers: those that come with the app, or a small run of the visitor's own."""
    source = url_widgets.segments("Numbers", [MEASURED, NOW], MEASURED, "numbers")
    if source == MEASURED:
        return localization.shipped()
    count = url_widgets.slider("How many scenes", 8, 80, 24, "scenes", step=8)
    seed = url_widgets.number("Seed of the scenes", 0, 999, 0, "seed")
    with place:
        bar, stop = st.empty(), st.empty()
        stop.button("Stop", on_click=lambda: st.session_state.update(numbers=MEASURED))
        report = localization.measure_now(
            load_classifier(network),
            kind,
            count,
            FIRST + 1_000_000 + 1000 * seed,
            progress(bar, "Measuring all methods"),
        )
        bar.empty()
        stop.empty()
    return report


def progress(place: st.delta_generator.DeltaGenerator, what: str) -> Callable[[float], object]:
    """A bar with the time that is left."""
    begin = time.monotonic()

    def show(done: float) -> None:
        left = (time.monotonic() - begin) * (1 - done) / done if done > 0.02 else None
        words = "waiting for a free core" if left is None else f"{done:.0%}, about {math.ceil(left)} s left"
        place.progress(done, f"{what}: {words}. Any change stops it.")

    return show


def failures(method_name: str, network: str, kind: Kind, measure: str, titles: dict[str, str]) -> None:
    """The scenes where the chosen method points worst."""
    method = get(method_name)
    st.subheader(f"Where {method.title} on {titles[network]} is worst")
    place = st.empty()
    found = localization.worst(method, load_classifier(network), kind, measure, progress(place, method.title))
    place.empty()
    what = "questions" if kind == "grid" else "scenes"
    st.caption(
        f"In {found.missed} of {found.asked} {what} it scores below 50 %. Shown are the worst ones: the object that is "
        f"asked about is outlined in white, the cross is the map's highest pixel. {TITLES[measure]} in percent."
    )
    st.html(localization.tiles(found, measure))


@st.fragment
def work() -> None:
    """The part that answers to every choice."""
    left, right = page_layout.columns()
    with right:
        top = st.container()
    with left, page_layout.guard():
        kind: Kind = url_widgets.select("Scenes", list(MEASURES), "one", "kind", text=SCENES.__getitem__)
        measure = url_widgets.select("Measure", MEASURES[kind], MEASURES[kind][0], "measure", text=TITLES.__getitem__)
        installed = localization.networks()
        if not installed:
            raise ValueError("no network of scenes is installed; run scripts/train_scenes.py")
        names: Sequence[str] = [method.name for method in methods("attribution")]
        titles = {method.name: method.title for method in methods("attribution")} | BASELINE_TITLES | installed
        network = url_widgets.select(
            "Network", list(installed), next(iter(installed)), "net", text=installed.__getitem__
        )
        method = url_widgets.select(
            "Method", names, "grad_cam", "method", text=lambda name: get(name).title, help=tooltips.METHOD
        )
        report = chosen_report(top, network, kind)
        with right, page_layout.guard():
            if report is None:
                page_layout.sentence("No numbers come with this installation: choose “a run now” on the left.", "hint")
            else:
                for sentence in summary(report, kind, measure, titles):
                    st.markdown(sentence)
                localization.table(report, kind, measure, (method, network), titles)
                st.caption(f"Percent, with 95 % intervals. NormViz {report.version}: {report.command}")
            failures(method, network, kind, measure, titles)
            page_layout.how_to_read(HELP)


work()

"""Localization: do maps point at the object, in generated scenes with known masks?"""

from collections.abc import Sequence

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
**The scenes** are generated: textured objects of eight classes on cluttered backgrounds with the same textures. So the
pixels of each object are known exactly, without human annotation. Each map explains the class that is present,
whatever the network predicts.

- **Pointing game** (Zhang 2018): how often the highest pixel of the map lies on the object; no tolerance.
- **Energy inside** (Wang 2020): the share of the positive evidence that lies on the object. A constant map scores the
  object's share of the image.
- **Best IoU**: the overlap between the object and the region above a threshold, at the best threshold for each image.
- **Grid pointing game** (Böhle 2021, Rao 2022): four scenes in one image; the share of a class's evidence in the
  correct quarter. Guessing scores 25%.

Each number comes with its 95% confidence interval. Green is clearly better than guessing the center of the image. A
map without evidence for the class scores 0. Slow methods were measured on fewer scenes; hover over a cell to see how
many.

A map that misses the object can still be right: the network may really use something next to the object. Whether a map
is faithful is another question (see Faithfulness).
"""

page_layout.header("localization")


def chosen_report(place: st.delta_generator.DeltaGenerator, network: str, kind: Kind) -> Report | None:
    """The results: saved ones, or a small run now."""
    source = url_widgets.segments("Results", [MEASURED, NOW], MEASURED, "numbers")
    if source == MEASURED:
        return localization.shipped()
    count = url_widgets.slider("Number of scenes", 8, 80, 24, "scenes", step=8)
    seed = url_widgets.number("Seed of the scenes", 0, 999, 0, "seed")

    def stop() -> None:
        st.session_state["numbers"] = MEASURED

    first = FIRST + 1_000_000 + 1000 * seed
    with place:
        return localization.measure_now(load_classifier(network), kind, count, first, stop)


def failures(method_name: str, network: str, kind: Kind, measure: str, titles: dict[str, str]) -> None:
    """Draw the scenes with the lowest scores of the chosen method."""
    method = get(method_name, "attribution")
    st.subheader(f"Lowest scores of {method.title} on {titles[network]}")
    found = localization.worst(method, load_classifier(network), kind, measure)
    what = "questions" if kind == "grid" else "scenes"
    st.caption(
        f"In {found.missed} of {found.searched} {what} it scores below 50%. The lowest scores are shown: the object to "
        f"find is outlined in white, and the cross is the highest pixel of the map. {TITLES[measure]} in percent."
    )
    st.html(localization.tiles(found, measure))


@st.fragment
def work() -> None:
    """Draw the page; it runs again at every change."""
    left, right = page_layout.columns()
    with right:
        top = st.container()
    with left, page_layout.guard():
        kind: Kind = url_widgets.select("Scenes", list(MEASURES), "one", "kind", text=SCENES.__getitem__)
        measure = url_widgets.select("Measure", MEASURES[kind], MEASURES[kind][0], "measure", text=TITLES.__getitem__)
        installed = localization.networks()
        if not installed:
            raise ValueError("no network of scenes is installed; run python -m scripts.train_scenes")
        names: Sequence[str] = [method.name for method in methods("attribution")]
        titles = {method.name: method.title for method in methods("attribution")} | BASELINE_TITLES | installed
        network = url_widgets.select(
            "Network", list(installed), next(iter(installed)), "net", text=installed.__getitem__
        )
        method = url_widgets.select(
            "Method",
            names,
            "grad_cam",
            "method",
            text=lambda name: get(name, "attribution").title,
            help=tooltips.METHOD,
        )
        report = chosen_report(top, network, kind)
        with right, page_layout.guard():
            if report is None:
                page_layout.sentence("No saved results are installed: choose “run now” on the left.", "hint")
            else:
                for sentence in summary(report, kind, measure, titles):
                    st.markdown(sentence)
                localization.table(report, kind, measure, (method, network), titles)
                st.caption(f"Percent, with 95% intervals. NormViz {report.version}: {report.command}")
            failures(method, network, kind, measure, titles)
            page_layout.how_to_read(HELP)


work()

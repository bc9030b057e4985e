"""The network that a page asks: an embedded one, one of the server's own, or one of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from normviz.models import download
from normviz.models.catalog import Classifier, Entry, load_classifier, models
from normviz.models.curated import CURATED
from normviz.ui.kit import cache, page_layout, url_widgets

FINER = "Larger photos give finer maps; at its first size a network is best at saying that it does not know."
ANOTHER = "another of the Hugging Face Hub"
HELP = (
    "The embedded networks are here at once. The others are image classifiers of the Hugging Face Hub, which this "
    "server downloads once; they know 1,000 kinds of things and were not measured on when they do not know."
)
MEGABYTE = 10**6
EVERY = 0.5  # seconds between two looks at a download


def choose(default: str = "photos", prefix: str = "") -> Classifier:
    """Draw the choice of a network and of the size of its input, and return the network.

    Until a network of the Hub has been downloaded, the default one stands in for it, and a sentence says so.

    Args:
        default: the name of the network to start with.
        prefix: put before the keys of the widgets (`net`, `size`, `hub`), where a page has several networks.

    Raises:
        ValueError: no network is installed, or the chosen one cannot be read.
    """
    entries = {entry.name: entry for entry in models()}
    if not entries:
        raise ValueError("no weights are installed in assets/")
    start = default if default in entries else next(iter(entries))
    _by_id(f"{prefix}net")
    known = list(dict.fromkeys([*entries, *(one.id for one in CURATED), *_asked(f"{prefix}net"), ANOTHER]))

    def title(name: str) -> str:
        return entries[name].title if name in entries else _titled(name)

    name = url_widgets.select("Network", known, start, f"{prefix}net", text=title, help=HELP)
    if name in entries:
        return load_classifier(name, _size(entries[name], prefix))
    if name == ANOTHER:
        name = url_widgets.text_field(
            "Its id on the Hub", "", f"{prefix}hub", limit=120,
            help="The owner and the name, as they stand on its page: microsoft/resnet-50. Any image classifier whose "
            "page lists model.safetensors.",
        )  # fmt: skip
        if not name.strip():
            st.caption(f"Until you name one, {entries[start].title} answers.")
            return load_classifier(start)
    return _of_the_hub(name, prefix) or _meanwhile(entries[start])


def _titled(name: str) -> str:
    """A network of the Hub in the list: where it is a recommended one, with about what it weighs."""
    return next((f"{name}, {one.megabytes} MB" for one in CURATED if one.id == name), name)


def _by_id(key: str) -> None:
    """A link may name a recommended network by its id alone, as it stands on its page."""
    for name in _asked(key):
        if key not in st.session_state and st.query_params.get(key) != _titled(name):
            st.query_params[key] = _titled(name)
            st.rerun()


def _asked(key: str) -> list[str]:
    """The id of the Hub that a link or this session asks for, where it is none of the list."""
    wanted = st.session_state.get(key, st.query_params.get(key)) or ""
    try:
        return [download.hub_id(wanted)]
    except ValueError:
        return []


def _size(entry: Entry, prefix: str) -> int | None:
    """The size of the input in pixels, asked where there is a choice."""
    if len(entry.sizes) < 2:
        return None
    return url_widgets.select("Photo size", entry.sizes, entry.size, f"{prefix}size", text="{} px".format, help=FINER)


def _meanwhile(entry: Entry) -> Classifier:
    st.caption(f"Until it is here, {entry.title} answers.")
    return load_classifier(entry.name)


def _of_the_hub(name: str, prefix: str) -> Classifier | None:
    """A network of the Hub, if it is here and can be read; otherwise what is needed to get it, and None."""
    try:
        name = download.hub_id(name)
        teaches = next((one.teaches for one in CURATED if one.id == name), None)
        if teaches:
            st.caption(teaches)
        if download.cached(name):
            with st.spinner(f"Reading {name}"):
                return load_classifier(f"hub:{name}")
        job = download.running(name)
        if job and not job.finished:
            _progress(name, prefix)
        else:
            _offer(name, prefix, job)
    except ValueError as error:
        _say(str(error), name)
    return None


def _say(text: str, name: str) -> None:
    """A failure as a sentence; the name of a network stays as it is written."""
    page_layout.sentence(f"{text if text.startswith(name) else text[0].upper() + text[1:]}.")


def _offer(name: str, prefix: str, before: download.Job | None) -> None:
    """Ask the hub how large a network is, and offer to download it."""
    if before and before.error:
        _say(before.error, name)
    tries: Hashable = st.session_state.get(f"{prefix}hub-tries", 0)

    def ask() -> download.Download | str:
        try:
            with st.spinner("Asking the hub how large it is"):
                return download.look_up(name)
        except ValueError as error:
            return str(error)

    found = cache.keep(f"{prefix}offer", tries, ask, [cache.Private(name)])  # one request per session, also if it fails

    def again() -> None:
        st.session_state[f"{prefix}hub-tries"] = st.session_state.get(f"{prefix}hub-tries", 0) + 1

    if isinstance(found, str):
        _say(found, name)
        st.button("Ask again", on_click=again, key=f"{prefix}hub-again")
        return

    def begin() -> None:
        download.start(found)

    st.button(f"Download {_megabytes(found.bytes)} MB", on_click=begin, key=f"{prefix}hub-get", width="stretch")


@st.fragment(run_every=EVERY)
def _progress(name: str, prefix: str) -> None:
    """How far the download is; when it is over, the page is drawn again with the network."""
    job = download.running(name)
    if job is None or job.finished:
        st.rerun()
    left = job.seconds_left
    eta = "" if left is None else f", about {left:.0f} s left" if left < 90 else f", about {left / 60:.0f} min left"
    done, all_of_it = _megabytes(job.done), _megabytes(job.plan.bytes)
    st.progress(job.share, f"Downloading {name}: {done} of {all_of_it} MB{eta}")
    st.button("Stop the download", on_click=job.stop, key=f"{prefix}hub-stop")


def _megabytes(count: int) -> str:
    """Bytes in megabytes, with a decimal where there are few."""
    return f"{count / MEGABYTE:.1f}" if count < 10 * MEGABYTE else f"{count / MEGABYTE:.0f}"

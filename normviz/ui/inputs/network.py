"""The network picker: embedded networks, networks installed on the server, and networks from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from normviz.models import download
from normviz.models.catalog import Classifier, Entry, load_classifier, models
from normviz.models.curated import CURATED
from normviz.ui.kit import cache, page_layout, url_widgets

FINER = "Larger photos give finer maps. At its default size, a network detects unknown objects best."
ANOTHER = "another from the Hugging Face Hub"
HELP = (
    "The embedded networks are ready to use. The others are image classifiers from the Hugging Face Hub, which this "
    "server downloads once. They know 1,000 classes; we have not tested whether they notice unknown things."
)
MEGABYTE = 10**6
INTERVAL = 0.5  # polling interval of a download in seconds


def choose(default: str = "photos", prefix: str = "") -> Classifier:
    """Draw the lists of networks and input sizes, and return the chosen network.

    Until a network from the Hub has been downloaded, the default network is returned and a caption explains why.

    Args:
        default: the name of the network that is selected at first.
        prefix: prefix of the widget keys (`net`, `size`, `hub`), for pages with several networks.

    Raises:
        ValueError: no network is installed, or the chosen network cannot be read.
    """
    entries = {entry.name: entry for entry in models()}
    if not entries:
        raise ValueError("assets/ contains no weights; reinstall normviz")
    start = default if default in entries else next(iter(entries))
    _complete_link(f"{prefix}net")
    hub_ids = [*(network.id for network in CURATED), *_requested_id(f"{prefix}net")]
    names = list(dict.fromkeys([*entries, *hub_ids, ANOTHER]))

    def title(name: str) -> str:
        return entries[name].title if name in entries else _hub_title(name)

    name = url_widgets.select("Network", names, start, f"{prefix}net", text=title, help=HELP)
    if name in entries:
        return load_classifier(name, _size(entries[name], prefix))
    if name == ANOTHER:
        name = url_widgets.text_field(
            "Network id", "", f"{prefix}hub", limit=120,
            help="Owner and name as on its page on the Hub, such as microsoft/resnet-50. Any image classifier with a "
            "model.safetensors file works.",
        )  # fmt: skip
        if not name.strip():
            st.caption(f"Until you enter an id, '{entries[start].title}' is used.")
            return load_classifier(start)
    return _from_hub(name, prefix) or _stand_in(entries[start])


def _hub_title(name: str) -> str:
    """The label of a network from the Hub in the list; for a recommended network, it includes the approximate size."""
    return next((f"{name}, {network.megabytes} MB" for network in CURATED if network.id == name), name)


def _complete_link(key: str) -> None:
    """Replace the id of a network in a link by its label in the list."""
    for name in _requested_id(key):
        if key not in st.session_state and st.query_params.get(key) != _hub_title(name):
            st.query_params[key] = _hub_title(name)
            st.rerun()


def _requested_id(key: str) -> list[str]:
    """The id on the Hub that this session or the link contains, or an empty list."""
    text = st.session_state.get(key, st.query_params.get(key)) or ""
    try:
        return [download.hub_id(text)]
    except ValueError:
        return []


def _size(entry: Entry, prefix: str) -> int | None:
    """Draw the list of input sizes if the network has several; return the size in pixels, or None for the only one."""
    if len(entry.sizes) < 2:
        return None
    return url_widgets.select("Photo size", entry.sizes, entry.size, f"{prefix}size", text="{} px".format, help=FINER)


def _stand_in(entry: Entry) -> Classifier:
    """The default network, with a caption that it is used until the chosen one is available."""
    st.caption(f"Until then, '{entry.title}' is used.")
    return load_classifier(entry.name)


def _from_hub(name: str, prefix: str) -> Classifier | None:
    """Load a network from the Hub; if it is not in the cache, draw the download or what failed, and return None."""
    try:
        name = download.hub_id(name)
        teaches = next((network.teaches for network in CURATED if network.id == name), None)
        if teaches:
            st.caption(teaches)
        if download.cached(name):
            with st.spinner(f"Loading {name}"):
                return load_classifier(f"hub:{name}")
        job = download.running(name)
        if job and not job.finished:
            _progress(name, prefix)
        else:
            _offer(name, prefix, job)
    except ValueError as error:
        _draw_error(str(error), name)
    return None


def _draw_error(text: str, name: str) -> None:
    """Draw an error as a sentence; a network's name at the start keeps its case."""
    page_layout.sentence(f"{text if text.startswith(name) else text[0].upper() + text[1:]}.")


def _offer(name: str, prefix: str, previous: download.Job | None) -> None:
    """Look up the size of a network on the Hub and draw a download button."""
    if previous and previous.error:
        _draw_error(previous.error, name)
    tries: Hashable = st.session_state.get(f"{prefix}hub-tries", 0)

    def look_up() -> download.Download | str:
        try:
            with st.spinner("Looking up the download size"):
                return download.look_up(name)
        except ValueError as error:
            return str(error)

    # one request per session, even if it fails
    result = cache.keep(f"{prefix}offer", tries, look_up, [cache.Private(name)])

    def retry() -> None:
        st.session_state[f"{prefix}hub-tries"] = st.session_state.get(f"{prefix}hub-tries", 0) + 1

    if isinstance(result, str):
        _draw_error(result, name)
        st.button("Try again", on_click=retry, key=f"{prefix}hub-again")
        return

    def begin() -> None:
        download.start(result)

    st.button(f"Download {_megabytes(result.bytes)} MB", on_click=begin, key=f"{prefix}hub-get", width="stretch")


@st.fragment(run_every=INTERVAL)
def _progress(name: str, prefix: str) -> None:
    """Draw the progress of the download; at its end, the page reruns and loads the network."""
    job = download.running(name)
    if job is None or job.finished:
        st.rerun()
    left = job.seconds_left  # None until it can be estimated
    eta = "" if left is None else f", about {left:.0f} s left" if left < 90 else f", about {left / 60:.0f} min left"
    done, total = _megabytes(job.done), _megabytes(job.plan.bytes)
    st.progress(job.share, f"Downloading {name}: {done} of {total} MB{eta}")
    st.button("Stop download", on_click=job.stop, key=f"{prefix}hub-stop")


def _megabytes(count: int) -> str:
    """Format bytes as megabytes, with one decimal below 10 MB."""
    return f"{count / MEGABYTE:.1f}" if count < 10 * MEGABYTE else f"{count / MEGABYTE:.0f}"

"""Networks fetched from the Hugging Face Hub: how large they are, whether they are here, and the download itself.

Only public networks, only their configuration, preprocessor and safetensors, into the usual cache of the Hub
(`HF_HOME`); `HF_ENDPOINT` names another hub, `HF_HUB_OFFLINE=1` forbids every request, and `NORMVIZ_DOWNLOADS` says how
many GB the image classifiers in that cache may take.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from normviz.models.hub import CONFIG, INDEX, PICKLED, PREPROCESSORS, WEIGHTS, image_classifier, read_json, weight_files

MEGABYTE, GIGABYTE = 10**6, 10**9
VARIABLE, ROOM = "NORMVIZ_DOWNLOADS", "10"  # GB that all image classifiers in the cache may take
LARGEST = 2000 * MEGABYTE  # bytes: a network beyond this is refused before anything of it is fetched
PATIENCE = 5.0  # seconds for the hub to answer
CHUNK = 2**18  # bytes after which a download tells how far it is and can be stopped
AT_ONCE = 2  # downloads at a time; others wait
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class StoppedError(Exception):
    """Somebody stopped the download; the files that are complete are kept, and the next one fetches the others."""


@dataclass(frozen=True)
class Offer:
    """What has to be fetched for a network.

    Attributes:
        id: owner/name.
        revision: the commit, so that all files are of one state.
        files: their names and bytes.
    """

    id: str
    revision: str
    files: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(size for _, size in self.files)


def hub_id(text: str) -> str:
    """The id owner/name in what a person or a link says: owner/name, hub:owner/name, or the page's address.

    Raises:
        ValueError: the text is no id.
    """
    plain = text.strip().removeprefix("hub:").removeprefix("https://").removeprefix("huggingface.co/").removesuffix("/")
    if not _ID.fullmatch(plain) or ".." in plain or "--" in plain or len(plain) > 96:
        raise ValueError(
            f"a network of the Hub is named owner/name, as microsoft/resnet-18; received {text.strip()[:96]!r}"
        )
    return plain


def look_up(name: str) -> Offer:
    """Ask the hub, by one request, what a network consists of and how large it is.

    Raises:
        ValueError: there is no such public network, it is too large or only a pickle, there is no room for it, or the
            hub does not answer.
    """
    name = hub_id(name)
    with _asking(name) as hub:
        found = hub.HfApi(endpoint=_endpoint(), token=False).model_info(name, files_metadata=True, timeout=PATIENCE)
    sizes = {file.rfilename: file.size or 0 for file in found.siblings or ()}
    parts = [file for file in sizes if re.fullmatch(r"model-\d+-of-\d+\.safetensors", file)]
    weights = [WEIGHTS] if WEIGHTS in sizes else [INDEX, *parts] if INDEX in sizes and parts else []
    if not weights:
        pickled = any(Path(file).match(ending) for file in sizes for ending in PICKLED)
        how = "has its weights only as a pickle, which could run anything when opened" if pickled else "has no weights"
        raise ValueError(f"{name} {how}; choose a network whose page lists {WEIGHTS}")
    if CONFIG not in sizes or not any(file in sizes for file in PREPROCESSORS):
        lacking = CONFIG if CONFIG not in sizes else PREPROCESSORS[0]
        raise ValueError(f"{name} has no {lacking}: it is no image classifier of transformers; choose another one")
    wanted = [CONFIG, *(file for file in PREPROCESSORS if file in sizes), *weights]
    offer = Offer(name, found.sha, tuple((file, sizes[file]) for file in wanted))
    if offer.bytes > LARGEST:
        raise ValueError(
            f"{name} has {offer.bytes // MEGABYTE:,} MB, more than {LARGEST // MEGABYTE:,}; choose a smaller network"
        )
    with _LOCK:
        _check_room(offer)
    return offer


def cached(name: str) -> Path | None:
    """The folder of a network that is here already, complete; None where it has to be fetched. No request is made."""
    from huggingface_hub import constants, try_to_load_from_cache

    name = hub_id(name)
    found = try_to_load_from_cache(name, CONFIG, cache_dir=constants.HF_HUB_CACHE)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        weight_files(folder, name)
    except ValueError:
        return None
    return folder if any((folder / file).is_file() for file in PREPROCESSORS) else None


def fetch(offer: Offer, advance: Callable[[int], None] = lambda done: None) -> Path:
    """Download what is not here yet, the configuration first, which must be that of an image classifier.

    Args:
        offer: what `look_up` found.
        advance: called with the number of bytes that are here; may raise to stop.

    Returns:
        The folder with the files.

    Raises:
        ValueError: the network does not classify images, there is no room for it, or the hub stopped answering.
    """
    with _LOCK:
        _check_room(offer)
        _ARRIVING.append(offer)
    try:
        return _fetch(offer, advance)
    finally:
        with _LOCK:
            _ARRIVING.remove(offer)


def _fetch(offer: Offer, advance: Callable[[int], None]) -> Path:
    done, folder = 0, Path()
    for file, size in offer.files:
        with _asking(offer.id) as hub:
            path = hub.hf_hub_download(
                offer.id, file, endpoint=_endpoint(), token=False, etag_timeout=PATIENCE,
                tqdm_class=_bar(partial(_add, advance, done)),
            )  # fmt: skip
        done += size
        advance(done)
        folder = Path(path).parent
        if file == CONFIG:
            image_classifier(read_json(Path(path), offer.id), offer.id)
    return folder


def stored() -> dict[str, int]:
    """The bytes that each image classifier in the Hub's cache takes, complete or not, by the name of its folder."""
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE)  # models--owner--name/snapshots/revision/file
    folders = {found.parents[2] for file in PREPROCESSORS for found in root.glob(f"models--*/snapshots/*/{file}")}
    return {folder.name: sum(map(_bytes, folder.rglob("*"))) for folder in folders}


def _bytes(path: Path) -> int:
    """The size of a file; a link to one takes no room."""
    try:
        found = path.lstat()
    except FileNotFoundError:  # a part of a download, which has just been put together or given up
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _check_room(offer: Offer) -> None:
    """Refuse what would not fit beside all that is here and all that is on its way; `_LOCK` is held.

    Raises:
        ValueError: it does not fit, or the variable is no number.
    """
    text = os.environ.get(VARIABLE, ROOM)
    try:
        room = float(text) * GIGABYTE
    except ValueError:
        room = -1.0
    if not room >= 0:  # nor is NaN
        raise ValueError(f"{VARIABLE} must be a number of GB, 0 or more; received {text!r}")
    here = stored()
    for other in _ARRIVING:
        here[_folder(other)] = max(here.get(_folder(other), 0), other.bytes)
    more, taken = offer.bytes - here.get(_folder(offer), 0), sum(here.values())
    if more > 0 and taken + more > room:
        raise ValueError(
            f"{offer.id} has {offer.bytes / MEGABYTE:,.0f} MB, and the networks that were downloaded take "
            f"{taken / GIGABYTE:.1f} of the {room / GIGABYTE:g} GB that this server gives them; choose one that is "
            f"here, or ask its owner to delete some or to raise {VARIABLE}"
        )


def _folder(offer: Offer) -> str:
    """The name of the folder that the Hub's cache keeps a network in."""
    return f"models--{offer.id.replace('/', '--')}"


def _add(advance: Callable[[int], None], before: int, arrived: int) -> None:
    advance(before + arrived)


def _bar(report: Callable[[int], None]) -> type:
    """What the Hub's client tells its progress, in place of tqdm: `report` gets the bytes of the file so far."""

    class Bar:
        def __init__(self, *args: object, initial: int = 0, **kwargs: object) -> None:
            self.arrived = 0
            self.update(initial)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None:
            """Nothing is left to close."""

        def update(self, count: float | None = 1) -> None:
            self.arrived += int(count or 0)
            report(self.arrived)

    return Bar


class Job:
    """A download in the background, that all visitors share and any of them can stop.

    Attributes:
        offer: what is fetched.
        done: bytes that are here.
        error: one sentence, if it failed.
        folder: where the files are, once all are there.
    """

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.done = 0
        self.error: str | None = None
        self.folder: Path | None = None
        self._first: tuple[float, int] | None = None  # when the first bytes arrived in this job, and how many were here
        self._stop = threading.Event()
        self._future = _WORKERS.submit(self._run)

    @property
    def over(self) -> bool:
        """Whether it ended: with a folder, with an error, or stopped, with neither."""
        return self._future.done()

    @property
    def share(self) -> float:
        """How much is here, 0 to 1."""
        return min(1.0, self.done / max(self.offer.bytes, 1))

    @property
    def seconds_left(self) -> float | None:
        """About how long it will take from now on, at the pace so far; None before there is one."""
        if self._first is None:
            return None
        start, before = self._first
        passed, arrived = time.monotonic() - start, self.done - before
        return passed * (self.offer.bytes - self.done) / arrived if passed > 0 and arrived > 0 else None

    def stop(self) -> None:
        """End it at the next bytes; the files that are complete are used by the next download."""
        self._stop.set()
        self._future.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most some seconds; whether it ended."""
        wait([self._future], timeout=seconds)
        return self.over

    def _run(self) -> None:
        try:
            self.folder = fetch(self.offer, self._advance)
        except ValueError as error:
            self.error = str(error)
        except StoppedError:
            return

    def _advance(self, done: int) -> None:
        if self._stop.is_set():
            raise StoppedError
        if self._first is None and done > 0:
            self._first = (time.monotonic(), done)
        self.done = done


_WORKERS = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="normviz-download")
_JOBS: dict[str, Job] = {}
_ARRIVING: list[Offer] = []  # what is being fetched now: room is kept for all of it
_LOCK = threading.Lock()


def start(offer: Offer) -> Job:
    """The running download of a network, or a new one."""
    with _LOCK:
        job = _JOBS.get(offer.id)
        if job is None or job.over:
            job = _JOBS[offer.id] = Job(offer)
        return job


def running(name: str) -> Job | None:
    """The download of a network, if one was started: it may be over."""
    with _LOCK:
        return _JOBS.get(hub_id(name))


def _endpoint() -> str | None:
    """The address of the hub, where it is not the usual one."""
    return os.environ.get("HF_ENDPOINT")


@contextmanager
def _asking(name: str) -> Iterator[Any]:
    """The Hub's client, whose failures become one sentence each."""
    import huggingface_hub as hub
    from huggingface_hub import constants, errors

    constants.HF_HUB_DISABLE_XET = True  # plain HTTP tells how far it is, and can be stopped
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK  # and tells it, on a slow line, more often than every 10 MB
    hub.logging.set_verbosity_error()
    try:
        yield hub
    except errors.GatedRepoError:
        raise ValueError(f"{name} is only given to those who accept its terms; choose a public network") from None
    except errors.RepositoryNotFoundError:
        raise ValueError(f"the hub has no public network {name}; check its name") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        raise ValueError(f"the hub does not give {name} (HTTP {code}); try again later") from None
    except errors.OfflineModeIsEnabled:
        raise ValueError(f"{name} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it") from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError):
        address = _endpoint() or constants.ENDPOINT
        raise ValueError(
            f"{name} is not on this machine, and {address} cannot be reached; "
            "connect to the internet, or choose a network that is here"
        ) from None
    except OSError as error:
        raise ValueError(f"{name} cannot be stored ({error.strerror or str(error).splitlines()[0]})") from None

"""Downloads of networks from the Hugging Face Hub, with size limits, progress and cancellation.

Only configuration, preprocessor and safetensors files of public networks are downloaded, into the Hub's standard cache
(`HF_HOME`). Environment variables: `HF_ENDPOINT` selects another hub, `HF_HUB_OFFLINE=1` forbids all requests, and
`NORMVIZ_DOWNLOADS` limits the total size in GB of the image classifiers in the cache.
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
VARIABLE, DEFAULT_LIMIT = "NORMVIZ_DOWNLOADS", "10"  # GB of all image classifiers in the cache
LARGEST = 2000 * MEGABYTE  # bytes; larger networks are refused before the download starts
TIMEOUT = 5.0  # seconds to wait for an answer of the hub
CHUNK = 2**18  # bytes between two progress reports, at each of which a download can be stopped
MAX_WORKERS = 2  # concurrent downloads; others wait
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class StoppedError(Exception):
    """The download was stopped; complete files stay in the cache, and the next download continues with the others."""


@dataclass(frozen=True)
class Download:
    """The files to download for a network.

    Attributes:
        id: owner/name.
        revision: commit hash, so that all files belong to the same version.
        files: name and size in bytes of each file.
    """

    id: str
    revision: str
    files: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        """Total size of all files."""
        return sum(size for _, size in self.files)


def hub_id(text: str) -> str:
    """Extract the id owner/name from "owner/name", "hub:owner/name" or the address of a page.

    Raises:
        ValueError: the text contains no valid id.
    """
    name = text.strip().removeprefix("hub:").removeprefix("https://").removeprefix("huggingface.co/").removesuffix("/")
    if not _ID.fullmatch(name) or ".." in name or "--" in name or len(name) > 96:
        raise ValueError(
            f"a network on the Hub is named owner/name, such as microsoft/resnet-18; received {text.strip()[:96]!r}"
        )
    return name


def look_up(name: str) -> Download:
    """Query the hub, with one request, for the files of a network.

    Raises:
        ValueError: the network is unknown or private, too large, or only available as pickle; it does not fit into the
            cache; or the hub does not respond.
    """
    name = hub_id(name)
    with _hub_client(name) as hub:
        info = hub.HfApi(endpoint=_endpoint(), token=False).model_info(name, files_metadata=True, timeout=TIMEOUT)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    parts = [file for file in sizes if re.fullmatch(r"model-\d+-of-\d+\.safetensors", file)]
    weights = [WEIGHTS] if WEIGHTS in sizes else [INDEX, *parts] if INDEX in sizes and parts else []
    if not weights:
        pickled = any(Path(file).match(ending) for file in sizes for ending in PICKLED)
        problem = "provides only pickled weights, which can run arbitrary code" if pickled else "has no weights"
        raise ValueError(f"{name} {problem}; choose a network whose page lists {WEIGHTS}")
    if CONFIG not in sizes or not any(file in sizes for file in PREPROCESSORS):
        missing = CONFIG if CONFIG not in sizes else PREPROCESSORS[0]
        raise ValueError(f"{name} has no {missing}, so it is no transformers image classifier; choose another network")
    wanted = [CONFIG, *(file for file in PREPROCESSORS if file in sizes), *weights]
    plan = Download(name, info.sha, tuple((file, sizes[file]) for file in wanted))
    if plan.bytes > LARGEST:
        raise ValueError(
            f"{name} has {plan.bytes // MEGABYTE:,} MB, above the limit of {LARGEST // MEGABYTE:,} MB; "
            "choose a smaller network"
        )
    with _LOCK:
        _check_space(plan)
    return plan


def cached(name: str) -> Path | None:
    """The folder of a network that is completely in the cache, or None. Makes no request."""
    from huggingface_hub import constants, try_to_load_from_cache

    name = hub_id(name)
    path = try_to_load_from_cache(name, CONFIG, cache_dir=constants.HF_HUB_CACHE)
    if not isinstance(path, str):
        return None
    folder = Path(path).parent
    try:
        weight_files(folder, name)
    except ValueError:
        return None
    return folder if any((folder / file).is_file() for file in PREPROCESSORS) else None


def fetch(plan: Download, advance: Callable[[int], None] = lambda done: None) -> Path:
    """Download the missing files of a network, its configuration first, which must be that of an image classifier.

    Args:
        plan: the result of `look_up`.
        advance: called with the number of bytes available so far; may raise to stop.

    Returns:
        The folder that contains the files.

    Raises:
        ValueError: the network is not an image classifier, it does not fit into the cache, or the hub does not respond.
    """
    with _LOCK:
        _check_space(plan)
        _RUNNING.append(plan)
    try:
        return _fetch(plan, advance)
    finally:
        with _LOCK:
            _RUNNING.remove(plan)


def _fetch(plan: Download, advance: Callable[[int], None]) -> Path:
    done, folder = 0, Path()
    for file, size in plan.files:
        with _hub_client(plan.id) as hub:
            path = hub.hf_hub_download(
                plan.id, file, endpoint=_endpoint(), token=False, etag_timeout=TIMEOUT,
                tqdm_class=_progress_class(partial(_add, advance, done)),
            )  # fmt: skip
        done += size
        advance(done)
        folder = Path(path).parent
        if file == CONFIG:
            image_classifier(read_json(Path(path), plan.id), plan.id)
    return folder


def cached_sizes() -> dict[str, int]:
    """Size in bytes of each image classifier in the Hub's cache, complete or not, by folder name."""
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE)  # models--owner--name/snapshots/revision/file
    folders = {path.parents[2] for file in PREPROCESSORS for path in root.glob(f"models--*/snapshots/*/{file}")}
    return {folder.name: sum(map(_file_size, folder.rglob("*"))) for folder in folders}


def _file_size(path: Path) -> int:
    """The size of a file; 0 for a symbolic link."""
    try:
        status = path.lstat()
    except FileNotFoundError:  # a partial file of a download that has just ended
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _check_space(plan: Download) -> None:
    """Check that a network fits into the cache together with all running downloads; `_LOCK` must be held.

    Raises:
        ValueError: it does not fit, or NORMVIZ_DOWNLOADS is not a number.
    """
    text = os.environ.get(VARIABLE, DEFAULT_LIMIT)
    try:
        limit = float(text) * GIGABYTE
    except ValueError:
        limit = -1.0
    if not limit >= 0:  # true for NaN, too
        raise ValueError(f"{VARIABLE} must be a number of GB, at least 0; received {text!r}")
    sizes = cached_sizes()
    for other in _RUNNING:
        sizes[_folder(other)] = max(sizes.get(_folder(other), 0), other.bytes)
    missing, used = plan.bytes - sizes.get(_folder(plan), 0), sum(sizes.values())
    if missing > 0 and used + missing > limit:
        raise ValueError(
            f"{plan.id} has {plan.bytes / MEGABYTE:,.0f} MB, but downloaded networks already use "
            f"{used / GIGABYTE:.1f} GB of the limit of {limit / GIGABYTE:g} GB; choose a downloaded network, or ask "
            f"the administrator to delete some or to raise {VARIABLE}"
        )


def _folder(plan: Download) -> str:
    """The folder name of a network in the Hub's cache."""
    return f"models--{plan.id.replace('/', '--')}"


def _add(advance: Callable[[int], None], before: int, arrived: int) -> None:
    advance(before + arrived)


def _progress_class(report: Callable[[int], None]) -> type:
    """A class that the Hub's client uses in place of tqdm; it calls `report` with the bytes of the file so far."""

    class Progress:
        def __init__(self, *args: object, initial: int = 0, **kwargs: object) -> None:
            self.arrived = 0
            self.update(initial)

        def __enter__(self) -> Progress:
            return self

        def __exit__(self, *error: object) -> None:
            """Nothing to close."""

        def update(self, count: float | None = 1) -> None:
            self.arrived += int(count or 0)
            report(self.arrived)

    return Progress


class Job:
    """A background download, shared by all sessions; any of them can stop it.

    Attributes:
        plan: the files to download.
        done: bytes available so far.
        error: the error message, if it failed.
        folder: the folder of the files, once the download is complete.
    """

    def __init__(self, plan: Download) -> None:
        self.plan = plan
        self.done = 0
        self.error: str | None = None
        self.folder: Path | None = None
        self._first: tuple[float, int] | None = None  # time of the first progress report, and the bytes available then
        self._stop = threading.Event()
        self._future = _WORKERS.submit(self._run)

    @property
    def finished(self) -> bool:
        """Whether it has ended: with a folder, with an error, or (if stopped) with neither."""
        return self._future.done()

    @property
    def share(self) -> float:
        """Downloaded fraction, 0 to 1."""
        return min(1.0, self.done / max(self.plan.bytes, 1))

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time at the average speed so far; None before the first measurement."""
        if self._first is None:
            return None
        start, before = self._first
        passed, arrived = time.monotonic() - start, self.done - before
        return passed * (self.plan.bytes - self.done) / arrived if passed > 0 and arrived > 0 else None

    def stop(self) -> None:
        """Stop at the next progress report; complete files are reused by the next download."""
        self._stop.set()
        self._future.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most this many seconds; return whether it has ended."""
        wait([self._future], timeout=seconds)
        return self.finished

    def _run(self) -> None:
        try:
            self.folder = fetch(self.plan, self._advance)
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


_WORKERS = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="normviz-download")
_JOBS: dict[str, Job] = {}
_RUNNING: list[Download] = []  # running downloads, for which space is reserved
_LOCK = threading.Lock()


def start(plan: Download) -> Job:
    """Return the running download of a network, or start one."""
    with _LOCK:
        job = _JOBS.get(plan.id)
        if job is None or job.finished:
            job = _JOBS[plan.id] = Job(plan)
        return job


def running(name: str) -> Job | None:
    """The last download of a network, which may have ended, or None."""
    with _LOCK:
        return _JOBS.get(hub_id(name))


def _endpoint() -> str | None:
    """The address of the hub, if it is not the default."""
    return os.environ.get("HF_ENDPOINT")


@contextmanager
def _hub_client(name: str) -> Iterator[Any]:
    """The Hub's client; its exceptions are raised as ValueError with one sentence."""
    import huggingface_hub as hub
    from huggingface_hub import constants, errors

    constants.HF_HUB_DISABLE_XET = True  # only plain HTTP reports progress and can be stopped
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK  # the default reports only every 10 MB
    hub.logging.set_verbosity_error()
    try:
        yield hub
    except errors.GatedRepoError:
        raise ValueError(f"{name} requires its license to be accepted; choose a public network") from None
    except errors.RepositoryNotFoundError:
        raise ValueError(f"the hub has no public network {name}; check the name") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        raise ValueError(f"the hub refuses to send {name} (HTTP {code}); try again later") from None
    except errors.OfflineModeIsEnabled:
        raise ValueError(f"{name} is not on this machine, and HF_HUB_OFFLINE forbids downloads") from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError):
        address = _endpoint() or constants.ENDPOINT
        raise ValueError(
            f"{name} is not on this machine, and {address} cannot be reached; "
            "connect to the internet, or choose a downloaded network"
        ) from None
    except OSError as error:
        raise ValueError(f"{name} cannot be stored ({error.strerror or str(error).splitlines()[0]})") from None

"""Simulate a class: clients that use the Streamlit protocol change a slider on a page.

    python -m scripts.simulate_class [--students 30] [--page norm] [--widget num_groups] [--think 2] [--changes 8]

Starts the app on a free local port, unless --url names a running local server. First, all students change
the slider at random times, then at the same time. The response time is measured from the sent change to the
end of the page run. The exit status is 1 if a response is missing or an error.
--page accepts a whole link, such as "normalize?N=32&C=64&H=56&W=56".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ("localhost", "127.0.0.1", "::1")
PATIENCE = 120.0  # timeout in seconds for one response and for the start of the app


@dataclass
class Answer:
    """Time and size of one page run."""

    seconds: float
    received: int  # bytes
    failed: bool


@dataclass
class Student:
    """One client connection with the sliders of its page."""

    socket: ClientConnection
    page: str
    chance: random.Random
    page_hash: str = ""
    sliders: dict[str, Slider] = field(default_factory=dict)  # by the name of their parameter, or their label
    fragments: dict[str, str] = field(default_factory=dict)  # the fragment of each widget
    values: dict[str, WidgetState] = field(default_factory=dict)  # by widget id

    async def run(self, fragment: str = "") -> Answer:
        """Request a run of the page or of one fragment, and read until it has finished."""
        message = BackMsg()
        page, _, query = self.page.partition("?")
        message.rerun_script.page_name = page if not self.page_hash else ""
        message.rerun_script.query_string = query
        message.rerun_script.page_script_hash = self.page_hash
        message.rerun_script.fragment_id = fragment
        message.rerun_script.widget_states.widgets.extend(self.values.values())
        start, received, failed = time.perf_counter(), 0, False
        await self.socket.send(message.SerializeToString())
        while True:
            data = await asyncio.wait_for(self.socket.recv(decode=False), PATIENCE)
            received += len(data)
            answer = ForwardMsg.FromString(bytes(data))
            failed |= self._read(answer)
            if answer.WhichOneof("type") == "script_finished":
                if answer.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    continue  # the run that follows answers
                failed |= answer.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR
                return Answer(time.perf_counter() - start, received, failed)

    def _read(self, message: ForwardMsg) -> bool:
        """Remember sliders and the page's hash; whether the message reports an error."""
        if message.WhichOneof("type") == "navigation":
            self.page_hash = message.navigation.page_script_hash
        if message.WhichOneof("type") != "delta":
            return message.WhichOneof("type") == "page_not_found"
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind == "slider":
            name = element.slider.query_param_key or element.slider.label
            self.sliders[name] = element.slider
            self.fragments[name] = message.delta.fragment_id
        apology = kind == "html" and "nv-sorry" in element.html.body
        return kind == "exception" or apology

    async def turn(self, name: str) -> Answer:
        """Change a slider to a different value."""
        slider = self.sliders[name]
        state = WidgetState(id=slider.id)
        if slider.type == Slider.SELECT_SLIDER:
            shown = self.values[slider.id].string_array_value.data[0] if slider.id in self.values else None
            state.string_array_value.data.append(self.chance.choice([o for o in slider.options if o != shown]))
        else:
            steps = round((slider.max - slider.min) / slider.step)
            old = self.values[slider.id].double_array_value.data[0] if slider.id in self.values else slider.default[0]
            options = [slider.min + k * slider.step for k in range(min(steps, 1000) + 1)]
            state.double_array_value.data.append(self.chance.choice([o for o in options if o != old]))
        self.values[slider.id] = state
        return await self.run(self.fragments[name])


async def simulate(url: str, page: str, widget: str, students: int, changes: int, think: float) -> dict[str, object]:
    """Simulate a class that changes one slider, first with pauses, then all at once.

    Args:
        url: of the server, http.
        page: the page's path in the address.
        widget: the parameter's name or the label of the slider; empty takes the first one.
        students: how many connections.
        changes: how often each turns the slider, in either half.
        think: mean time between two changes of a student, in seconds.

    Returns:
        The figures of each half, and the slider's name.

    Raises:
        ValueError: the page shows no such slider.
    """
    address = url.replace("http", "ws", 1).rstrip("/") + "/_stcore/stream"
    sockets = [connect(address, subprotocols=["streamlit"], max_size=2**26) for _ in range(students)]  # type: ignore[list-item]
    clients = [Student(await socket, page, random.Random(i)) for i, socket in enumerate(sockets)]
    try:
        opening = await asyncio.gather(*(client.run() for client in clients))
        name = widget or next(iter(clients[0].sliders), "")
        if any(name not in client.sliders for client in clients):
            raise ValueError(f"the page {page!r} shows no slider {widget!r}; it shows {sorted(clients[0].sliders)}")

        async def thinking(client: Student) -> list[Answer]:
            answers = []
            await asyncio.sleep(client.chance.uniform(0, think))
            for _ in range(changes):
                answers.append(await client.turn(name))
                await asyncio.sleep(client.chance.uniform(0.5, 1.5) * think)
            return answers

        apart = [a for answers in await asyncio.gather(*map(thinking, clients)) for a in answers]
        together: list[Answer] = []
        for _ in range(changes):
            together += await asyncio.gather(*(client.turn(name) for client in clients))
            await asyncio.sleep(0.5)
    finally:
        await asyncio.gather(*(client.socket.close() for client in clients))
    return {
        "slider": name,
        "opening": figures(opening),
        "thinking": figures(apart),
        "all at once": figures(together),
    }


def figures(answers: list[Answer]) -> dict[str, float]:
    """Compute percentiles of the response times in ms, received KB per response, and the number of errors."""
    times = sorted(1000 * answer.seconds for answer in answers)
    return {
        "answers": len(answers),
        "p50 ms": round(statistics.median(times), 1),
        "p95 ms": round(times[min(len(times) - 1, int(0.95 * len(times)))], 1),
        "worst ms": round(times[-1], 1),
        "KB": round(statistics.median(answer.received for answer in answers) / 1024, 1),
        "errors": sum(answer.failed for answer in answers),
    }


def resident(pid: int) -> float:
    """Read the peak memory of a process in MB, or its current memory if the peak is not available."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True).stdout) / 1024


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Run the app on a free local port; yields its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    options = ["--server.port", str(port), "--server.address", "127.0.0.1"]
    process = subprocess.Popen(command + options, cwd=ROOT, stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        start = time.perf_counter()
        while not healthy(port):
            if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                raise RuntimeError("the app did not start; run `streamlit run app.py` to see why")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


def healthy(port: int) -> bool:
    """Whether a server on this port reports that it is ready."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, TimeoutError, ConnectionError):
        return False


def main() -> int:
    """Parse the options, run the simulation, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", default="", help="a server on this machine; else one is started")
    parser.add_argument("--page", default="normalize", help="the page's path in the address, and what follows it")
    parser.add_argument("--widget", default="", help="the slider's parameter name or label; else the first on the page")
    parser.add_argument("--students", type=int, default=30, help="1 to 200")
    parser.add_argument("--changes", type=int, default=8, help="of each student in each half, 1 to 100")
    parser.add_argument("--think", type=float, default=2.0, help="mean seconds between two changes, 0 to 60")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    for name, low, high in (("students", 1, 200), ("changes", 1, 100), ("think", 0, 60)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}; received {getattr(given, name)}")
    if given.url and urlsplit(given.url).hostname not in LOCAL:
        parser.error(f"--url must be on this machine ({', '.join(LOCAL)}); received {given.url}")
    plan = (given.page, given.widget, given.students, given.changes, given.think)
    if given.url:
        result = asyncio.run(simulate(given.url, *plan))
    else:
        with server() as (url, pid):
            before = resident(pid)
            result = asyncio.run(simulate(url, *plan))
            result |= {"memory MB": {"at start": round(before), "peak": round(resident(pid))}}
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{given.students} students, page /{given.page}, slider {result.pop('slider')}")
        for half, numbers in result.items():
            assert isinstance(numbers, dict)
            print(f"{half:12}", "   ".join(f"{name} {value:g}" for name, value in numbers.items()))
    halves = [half for half in result.values() if isinstance(half, dict)]
    return int(any(half.get("errors") for half in halves))


if __name__ == "__main__":
    sys.exit(main())

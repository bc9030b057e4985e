"""A local server with the part of the Hugging Face Hub's protocol that downloads use."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = hashlib.sha1(b"the only one").hexdigest()


class Hub:
    """The networks and the behavior of a fake hub.

    Attributes:
        address: for HF_ENDPOINT.
        networks: folder by id.
        pause: seconds between two chunks of a file.
        gate: while not set, a file stops after its first chunk.
        requests: every request, as "GET /path".
        gated: ids that are refused with status 403.
        broken: whether every response is a server error.
    """

    def __init__(self, networks: dict[str, Path]) -> None:
        self.networks = networks
        self.address = ""
        self.pause = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[str] = []
        self.gated: set[str] = set()
        self.broken = False


@contextmanager
def fake_hub(networks: dict[str, Path]) -> Iterator[Hub]:
    """Serve folders as networks of a hub."""
    hub = Hub(networks)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Disable logging."""

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
            folder = hub.networks.get(name)
            if hub.broken:
                return self.refuse(500, "")
            if name in hub.gated:
                return self.refuse(403, "GatedRepo")
            if folder is None:
                return self.refuse(404, "RepoNotFound")
            if parts[0] == "api":
                files = [{"rfilename": f.name, "size": f.stat().st_size} for f in sorted(folder.iterdir())]
                content = json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode()
                return self.send(200, content, {"Content-Type": "application/json"}, body)
            file = folder / parts[-1]
            if not file.exists():
                return self.refuse(404, "EntryNotFound")
            content = file.read_bytes()
            head = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            begin = self.headers.get("Range", "")
            if begin.startswith("bytes=") and (start := int(begin.removeprefix("bytes=").split("-")[0])):
                head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                return self.send(206, content[start:], head, body)
            return self.send(200, content, head, body)

        def refuse(self, code: int, why: str) -> None:
            self.send(code, b"", {"X-Error-Code": why, "X-Error-Message": why}, True)

        def send(self, code: int, content: bytes, head: dict[str, str], body: bool) -> None:
            self.send_response(code)
            for key, value in {**head, "Content-Length": str(len(content)), "Accept-Ranges": "bytes"}.items():
                self.send_header(key, value)
            self.end_headers()
            step = 2**16
            try:
                for start in range(0, len(content) if body else 0, step):
                    self.wfile.write(content[start : start + step])
                    time.sleep(hub.pause)
                    hub.gate.wait()
            except ConnectionError:  # the client stopped its download
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        hub.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()

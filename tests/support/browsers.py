"""Chromium and Firefox, headless, which find cameras through the real desktop portal."""

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import defaultdict
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support import skip_or_fail
from support.display import PATIENCE, wait_until
from support.pipewire import Session, Stalled, missing

KINDS = "chromium", "firefox"
PAGE = Path(__file__).with_name("camera.html")
PORTAL = "/usr/libexec/xdg-desktop-portal"
PROGRAMS = ("chromium", "firefox-esr", PORTAL, "gdbus")
PACKAGES = "chromium firefox-esr xdg-desktop-portal libglib2.0-bin"
# WirePlumber may be late, or an opened camera may never deliver a frame.
NOT_YET = "NotFoundError", "NotReadableError", "AbortError", "frames after"
FIREFOX = {
    "media.webrtc.camera.allow-pipewire": True,
    "media.navigator.permission.disabled": True,  # do not ask
    "media.autoplay.default": 0,
    "dom.disable_open_during_load": False,  # a page may open another tab
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
}
CHROMIUM = (
    "--headless=new --no-sandbox --no-first-run --disable-gpu --disable-dev-shm-usage "
    "--enable-features=WebRtcPipeWireCamera --use-fake-ui-for-media-stream "
    "--autoplay-policy=no-user-gesture-required --disable-popup-blocking "
    "--disable-background-networking --disable-component-update --disable-renderer-backgrounding "
    "--disable-background-timer-throttling --disable-backgrounding-occluded-windows"
)


class Desktop(Session):
    """A `Session` with the camera portal, which starts when a browser asks for it.

    The portal offers cameras only if some backend could ask the user. The one named here does not
    exist, and is never asked, since the permission store has the answer.
    """

    def __init__(self):
        self._home = Path(tempfile.mkdtemp(prefix="home"))
        folders = {"CONFIG": ".config", "DATA": ".local/share", "CACHE": ".cache"}
        super().__init__(
            HOME=str(self._home),
            XDG_CURRENT_DESKTOP="test",
            XDG_DESKTOP_PORTAL_DIR=str(self._home),
            **{f"XDG_{name}_HOME": str(self._home / path) for name, path in folders.items()},
        )
        (self._home / "test.portal").write_text(
            "[portal]\nDBusName=org.freedesktop.impl.portal.desktop.nobody\nUseIn=test\n"
            "Interfaces=org.freedesktop.impl.portal.Access;org.freedesktop.impl.portal.Lockdown\n"
        )
        store = "org.freedesktop.impl.portal.PermissionStore"
        self.call(
            *(store, f"/{store.replace('.', '/')}", f"{store}.SetPermission"),
            *("devices", "true", "camera", "", "['yes']"),
        )

    def call(self, name: str, path: str, method: str, *arguments: str) -> None:
        """Calls a method of a D-Bus service, which starts it."""
        command = ["gdbus", "call", "--session", "-d", name, "-o", path, "-m", method]
        result = self.run(*command, *arguments)
        assert result.returncode == 0, result.stderr

    def start_portal(self) -> None:
        path = "/org/freedesktop/portal/desktop"
        self.call("org.freedesktop.portal.Desktop", path, "org.freedesktop.DBus.Peer.Ping")

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._home, ignore_errors=True)


class Handler(BaseHTTPRequestHandler):
    """Serves the page, passes code to its tabs, and passes back their answers."""

    server: "Server"

    def log_message(self, *_) -> None:
        pass

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.reply(PAGE.read_bytes())

    def do_POST(self) -> None:
        if answer := self.rfile.read(int(self.headers["Content-Length"])):
            self.server.answers[self.path].put(json.loads(answer))
        code = ""
        with suppress(queue.Empty):
            code = self.server.jobs[self.path].get(timeout=PATIENCE)
        self.reply(code.encode())


class Server(ThreadingHTTPServer):
    """Holds the queues of each tab, by path."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, queue.Queue] = defaultdict(queue.Queue)
        self.answers: dict[str, queue.Queue] = defaultdict(queue.Queue)

    def handle_error(self, *_) -> None:
        """Ignores that a tab was closed while waiting."""


class Browser:
    """A browser with camera.html in its first tab, "/", where it can run JavaScript."""

    def __init__(self, kind: str, session: Session):
        self.kind, self._server = kind, Server()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._profile, self._session = tempfile.mkdtemp(prefix=kind), session
        self._start()

    def _start(self) -> None:
        command = [*self._command(), f"http://localhost:{self._server.server_port}/"]
        nothing = subprocess.DEVNULL
        # Give it its own process group, since it consists of many processes.
        self._process = self._session.popen(
            *command, stdout=nothing, stderr=nothing, process_group=0
        )

    def _command(self) -> list[str]:
        if self.kind == "chromium":
            return ["chromium", f"--user-data-dir={self._profile}", *CHROMIUM.split()]
        lines = (f'user_pref("{name}", {json.dumps(value)});' for name, value in FIREFOX.items())
        Path(self._profile, "user.js").write_text("\n".join(lines))
        return ["firefox-esr", "--headless", "--no-remote", "--profile", self._profile]

    def run(self, code: str, tab="/") -> Any:
        """Runs the body of an async function and returns its result; RuntimeError if it throws.

        Raises:
            Stalled: it did not answer, as when WirePlumber 0.4 leaves it waiting for a camera. It
                is then restarted.
        """
        self._server.jobs[tab].put(code)
        try:
            answer = self._server.answers[tab].get(timeout=PATIENCE + 10)
        except queue.Empty:
            self._end()
            self._server.jobs.clear()
            self._server.answers.clear()
            self._start()
            raise Stalled(f"{self.kind} did not answer") from None
        if "error" in answer:
            raise RuntimeError(f"{self.kind}: {answer['error']}")
        return answer.get("value")

    def open(self, parts: list[list[int]], tab="/") -> None:
        """Opens the camera, which a newly started browser does not always find immediately.

        Raises:
            Stalled: it never finds it, or never shows a frame.
        """

        def is_open() -> bool:
            try:
                self.run(f"await openCamera({parts})", tab)
            except RuntimeError as error:
                if not any(name in str(error) for name in NOT_YET):
                    raise
                print(error)
                return False
            return True

        try:
            wait_until(is_open, f"{self.kind} to find the camera")
        except pytest.fail.Exception as error:
            raise Stalled(str(error)) from None

    def frames(self, count: int, tab="/") -> list[dict]:
        """At least the first `count` frames since the camera was opened; see camera.html.

        Raises:
            Stalled: too few frames came.
        """
        seen = self.run(
            f"await frame({count}, {1000 * PATIENCE}).catch(() => 0); return frames", tab
        )
        if len(seen) < count:
            raise Stalled(f"{self.kind}: {len(seen)} of {count} frames")
        return seen

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, number)
                self._process.wait(5)

    def close(self) -> None:
        self._end()
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._profile, ignore_errors=True)


@pytest.fixture
def desktop():
    """A separate `Desktop` for each test, so that a stalled one does not affect the next.

    Skips if browsers or the portal are missing, which in CI is a failure.
    """
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if lacking or missing():
        reason = f"no {', '.join(lacking) or missing()} here; for browsers: apt install {PACKAGES}"
        skip_or_fail(reason)
    session = Desktop()
    yield session
    session.stop()


@pytest.fixture
def browser(desktop):
    """Starts a browser of a given kind, and ends it after the test."""
    with ExitStack() as stack:

        def start(kind: str) -> Browser:
            browser = Browser(kind, desktop)
            stack.callback(browser.close)
            return browser

        yield start


@pytest.fixture
def browsers(browser):
    """Both browsers."""
    return [browser(kind) for kind in KINDS]

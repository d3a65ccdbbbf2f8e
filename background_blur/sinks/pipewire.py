"""Asks PipeWire, the media server of Linux desktops, for its cameras and their readers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

START = "systemctl --user start pipewire wireplumber"
RESPONSE_TIMEOUT = 5.0  # seconds to wait for an answer


@dataclass(frozen=True)
class PipeWireCamera:
    """A camera that PipeWire offers.

    Attributes:
        name, description: the node's own name, and the one shown to people.
        device: the kernel device behind it, such as /dev/video0, or None.
        program: the name of the program that provides it; None for a real camera.
    """

    name: str
    description: str
    device: str | None
    program: str | None


def is_running() -> bool:
    """Whether the user's PipeWire accepts connections."""
    folder = os.environ.get("PIPEWIRE_RUNTIME_DIR") or os.environ.get("XDG_RUNTIME_DIR")
    address = os.environ.get("PIPEWIRE_REMOTE") or "pipewire-0"
    if sys.platform == "win32" or not folder:
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(Path(folder, address)))
        except OSError:
            return False
    return True


def objects() -> list[dict]:
    """All PipeWire objects, as `pw-dump` prints them; empty if it does not answer."""
    if not shutil.which("pw-dump"):
        return []
    try:
        result = subprocess.run(["pw-dump"], capture_output=True, timeout=RESPONSE_TIMEOUT)
        return json.loads(result.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []


def has_portal() -> bool | None:
    """Whether the portal, through which browsers find PipeWire, offers cameras; None if unknown."""
    if not shutil.which("busctl"):
        return None
    name, path = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
    what = "get-property", name, path, "org.freedesktop.portal.Camera", "version"
    try:
        result = subprocess.run(
            ["busctl", "--user", *what], capture_output=True, timeout=RESPONSE_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.returncode == 0


def version(known: list[dict]) -> tuple[int, ...] | None:
    """PipeWire's version, from `objects`, such as (0, 3, 65)."""
    for thing in known:
        if thing.get("type") == "PipeWire:Interface:Core":
            try:
                return tuple(int(part) for part in thing["info"]["version"].split("."))
            except (KeyError, TypeError, ValueError):
                return None
    return None


def cameras(known: list[dict]) -> list[PipeWireCamera]:
    """The cameras among `objects`."""
    programs = {thing["id"]: properties(thing) for thing in known if "id" in thing}
    return [camera(thing, programs) for thing in known if is_camera(thing)]


def readers(known: list[dict], name: str) -> list[str]:
    """The programs among `objects` that read the camera with this name."""
    things = {thing["id"]: thing for thing in known if "id" in thing}
    links = [thing.get("info") or {} for thing in known if str(thing.get("type")).endswith(":Link")]
    read = [link for link in links if is_named(things.get(link.get("output-node-id"), {}), name)]
    nodes = [properties(things.get(link.get("input-node-id"), {})) for link in read]
    return [str(it.get("application.name") or it.get("node.name") or "a program") for it in nodes]


def is_named(thing: dict, name: str) -> bool:
    return is_camera(thing) and properties(thing).get("node.name") == name


def is_camera(thing: dict) -> bool:
    return properties(thing).get("media.class") == "Video/Source"


def properties(thing: dict) -> dict:
    return (thing.get("info") or {}).get("props") or {}


def camera(thing: dict, programs: dict[int, dict]) -> PipeWireCamera:
    node = properties(thing)
    name = str(node.get("node.name", f"camera {thing['id']}"))
    device = node.get("api.v4l2.path")
    program = None
    if not node.get("device.api"):  # provided by a program, not a driver
        client = programs.get(node.get("client.id", -1), {})
        program = str(client.get("application.name") or node.get("media.name") or "another program")
    description = str(node.get("node.description") or name)
    return PipeWireCamera(name, description, device, program)


class Monitor:
    """Follows the state of one camera, found by name, in its own thread.

    Attributes:
        state: "running" while a program reads it, else "idle" or "suspended"; None if unknown.
        appeared: set once the camera is listed.
        lost: whether PipeWire has ended, which GStreamer does not always notice.
    """

    def __init__(self, name: str):
        """Starts `pw-dump`; without it, the camera is assumed to be listed."""
        self._name, self._id = name, None
        self.state: str | None = None
        self.appeared = threading.Event()
        self.lost = False
        self._process = None
        if not shutil.which("pw-dump"):
            self.appeared.set()
            return
        self._process = subprocess.Popen(
            ["pw-dump", "--monitor"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is meant for us
        )
        self._thread = threading.Thread(target=self._follow, args=(self._process.stdout,))
        self._thread.daemon = True
        self._thread.start()

    def _follow(self, output: Iterable[str]) -> None:
        lines: list[str] = []
        for line in output:
            lines.append(line)
            if line.startswith("]"):  # the end of a list of changes
                self._take("".join(lines))
                lines.clear()
        self.state, self.lost = None, True

    def _take(self, text: str) -> None:
        try:
            changed = json.loads(text)
        except ValueError:
            return
        for thing in changed:
            if is_named(thing, self._name):
                self._id, self.state = thing["id"], thing["info"].get("state", self.state)
                self.appeared.set()
            elif thing.get("id") == self._id and thing.get("info") is None:  # it went away
                self._id = self.state = None

    def close(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._thread.join()

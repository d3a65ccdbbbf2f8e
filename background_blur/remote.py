"""`--send`: controls the program that is already running, through a local socket."""

import json
import logging
import os
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self

from background_blur.errors import UserError
from background_blur.signals import next_background, set_hidden

if TYPE_CHECKING:  # otherwise --send would load OpenCV
    from background_blur.capture.base import Source
    from background_blur.settings import Backgrounds, Settings
    from background_blur.sinks.virtual_camera import VirtualCamera
    from background_blur.statistics import RunStatistics

COMMANDS = "hide", "show", "toggle", "next", "status"
PATIENCE = 10.0  # seconds to wait for an answer

log = logging.getLogger("background_blur")


def address() -> Path | None:
    """The socket of the running program; None if the system has no folder for it."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if sys.platform == "win32" or not os.path.isdir(folder):
        return None
    return Path(folder, "background-blur", "control")


def send(command: str) -> int:
    """Sends a command and prints the answer, a line of JSON; returns 0.

    Raises UserError if there is no answer.
    """
    path = address()
    if sys.platform == "win32" or not path:
        raise UserError("--send needs a folder for its socket; set XDG_RUNTIME_DIR")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(f"{command}\n".encode())
            with connection.makefile() as lines:
                answer = lines.readline()
        if not answer:
            raise ConnectionResetError
    except (FileNotFoundError, ConnectionError):
        raise UserError("no copy of the program is running here; start one first") from None
    except OSError as error:
        raise UserError(f"the running program does not answer: {error}") from error
    print(answer.strip())
    return 0


@dataclass
class Running:
    """What commands change and `status` reports."""

    source: "Source"
    settings: "Settings"
    backgrounds: "Backgrounds"
    statistics: "RunStatistics"
    virtual_camera: "VirtualCamera | None"

    def obey(self, command: str) -> dict[str, object]:
        """Executes a command, which takes effect with the next frame; returns the status."""
        match command:
            case "hide" | "show":
                log.info(set_hidden(self.settings, command == "hide"))
            case "toggle":
                log.info(set_hidden(self.settings, not self.settings.hide))
            case "next":
                log.info(next_background(self.settings, self.backgrounds))
            case "status":
                pass
            case _:
                return {"error": f"send one of {', '.join(COMMANDS)}"}
        return self.status()

    def status(self) -> dict[str, object]:
        settings, camera = self.settings, self.virtual_camera
        names = [name for name, it in self.backgrounds.items() if it is settings.background]
        rate, processor = self.statistics.rates(monotonic())
        return {
            "hidden": settings.hide,
            "background": names[0] if names else None,
            "people": settings.people,
            "frames_per_second": round(rate, 1),
            "processor_ms_per_frame": round(processor, 1),
            "size": list(self.source.size),
            "problem": self.source.problem,
            "virtual_camera": camera.device if camera else None,
            "readers": camera.readers() if camera else None,
        }


class Listener:
    """Receives commands in its own thread until it is closed."""

    def __init__(self, running: Running):
        """Starts listening if the system has a folder for the socket and no other copy does."""
        self._running, self._socket = running, None
        self._path = address()
        if not self._path:
            return
        try:
            self._socket = listen(self._path)
        except OSError as error:
            log.warning(f"--send will not reach this copy: {error}")
            return
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:  # closed
                return
            with connection, suppress(OSError):
                connection.settimeout(1)
                command = connection.recv(64).decode(errors="replace").strip()
                answer = self._running.obey(command)
                connection.sendall(json.dumps(answer).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not (self._socket and self._path):
            return
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread up
        self._socket.close()


def listen(path: Path) -> socket.socket:
    """Opens a socket there, for this user only. Raises OSError, also if another copy listens."""
    assert sys.platform != "win32"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as other:
        if other.connect_ex(str(path)) == 0:
            raise OSError("another copy is already running, and receives it")
    path.unlink(missing_ok=True)  # left by a copy that was killed
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening

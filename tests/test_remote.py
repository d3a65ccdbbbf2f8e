"""`--send`: one copy of the program tells another, running one what to do."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT
from support.display import wait_until

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such sockets here")
NOBODY = "main.py: no copy of the program is running here; start one first\n"


def send(command: str, environment: dict) -> subprocess.CompletedProcess:
    arguments = [sys.executable, ROOT / "main.py", "--send", command]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=30)


def status(session, command="status") -> dict:
    """Returns what the running copy answers."""
    result = send(command, session.environment)
    assert (result.returncode, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    return json.loads(result.stdout)


def test_a_running_copy_is_driven_and_says_how_it_is(program, pipewire):
    sender = program(pipewire, "--background", "blur", "--background", "#00b140")
    elements = "pipewiresrc target-object=background_blur ! videoconvert ! fakesink"
    reader = pipewire.popen("gst-launch-1.0", *elements.split())
    wait_until(lambda: status(pipewire)["readers"] == ["gst-launch-1.0"], "its reader")
    wait_until(lambda: status(pipewire)["frames_per_second"], "frames")
    now = status(pipewire)
    assert now["processor_ms_per_frame"] > 0 and now["problem"] is None
    assert now["virtual_camera"] == 'the PipeWire camera "Background blur"'
    assert (now["hidden"], now["background"], now["people"]) == (False, "blur", "front")
    for command, hidden in (("hide", True), ("hide", True), ("toggle", False), ("show", False)):
        assert status(pipewire, command)["hidden"] == hidden
    assert "main.py: everything is hidden" in sender.errors()
    assert status(pipewire, "next")["background"] == "#00b140"
    reader.kill()
    reader.communicate()
    wait_until(lambda: status(pipewire)["problem"], "the pause, which it reports")
    assert status(pipewire)["readers"] == []


def test_only_its_user_may_send_and_only_the_first_copy_listens(program, pipewire):
    sender = program(pipewire)
    path = Path(pipewire.environment["XDG_RUNTIME_DIR"], "background-blur", "control")
    wait_until(path.exists, "the socket")
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    second = program(pipewire, camera="pipewire:Another")
    wait_until(second.errors, "a word about the first")
    assert second.errors() == [
        "main.py: --send will not reach this copy: another copy is already running, and receives it"
    ]
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=30)
    assert status(pipewire)["virtual_camera"] == 'the PipeWire camera "Background blur"'
    sender.kill()
    sender.communicate()
    assert path.exists()
    assert send("status", pipewire.environment).stderr == NOBODY
    wait_until(lambda: not pipewire.node("background_blur"), "the camera to go")
    program(pipewire)
    wait_until(lambda: not send("status", pipewire.environment).returncode, "the next copy")


def test_without_a_running_copy_it_is_one_line(tmp_path):
    for folder, line in ((tmp_path, NOBODY), (tmp_path / "none", "set XDG_RUNTIME_DIR\n")):
        result = send("hide", {**os.environ, "XDG_RUNTIME_DIR": str(folder)})
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.endswith(line) and result.stderr.count("\n") == 1


def test_it_answers_at_once():
    """Nothing heavy is imported, and nothing that is not needed to send."""
    command = [sys.executable, "-X", "importtime", ROOT / "main.py", "--send", "status"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30).stderr
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "background_blur" in modules and not modules & {"cv2", "numpy", "av", "tqdm"}

"""What `--list-cameras` and `--check` find."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from background_blur import diagnostics
from background_blur.capture import camera
from background_blur.capture.base import Source
from background_blur.errors import UserError
from background_blur.frames import Frame
from support import ROOT
from support.program import assert_one_line, run


class FakeCapture:
    """A camera with 640x480 and 1280x720; number 2 is not one, though the system lists it."""

    def __init__(self, number: int):
        self.number, self.asked = number, {}

    def isOpened(self) -> bool:  # noqa: N802
        return self.number != 2

    def set(self, what: int, value: float) -> None:
        self.asked[what] = value

    def get(self, what: int) -> float:
        small = self.asked[cv2.CAP_PROP_FRAME_WIDTH] == 640
        width, height, rate = (640, 480, 30) if small else (1280, 720, 25)
        known = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height}
        return {**known, cv2.CAP_PROP_FPS: rate}[what]

    def release(self) -> None:
        self.number = None


@pytest.fixture
def system(tmp_path, monkeypatch) -> Path:
    """A Linux system that lists three cameras, the third of which is not one."""
    monkeypatch.setattr(sys, "platform", "linux")
    for module in (diagnostics, camera):
        monkeypatch.setattr(module, "DEVICES", tmp_path)
    monkeypatch.setattr(diagnostics, "NAMES", tmp_path / "names")
    monkeypatch.setattr(diagnostics, "VIRTUAL", tmp_path / "virtual")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "no PipeWire"))
    for number in (0, 10, 2):
        (tmp_path / f"video{number}").touch()
    (tmp_path / "names/video0").mkdir(parents=True)
    (tmp_path / "names/video0/name").write_text("Integrated Camera\n")
    return tmp_path


def test_cameras_are_listed_with_the_modes_they_keep(system, capsys):
    assert diagnostics.list_cameras(FakeCapture) == 0
    modes = "640x480 at 30, 1280x720 at 25"
    assert capsys.readouterr().out == f"0  Integrated Camera: {modes}\n10  camera 10: {modes}\n"


def test_the_output_of_a_program_is_called_so(system, capsys):
    (system / "virtual" / "video10").mkdir(parents=True)
    diagnostics.list_cameras(FakeCapture)
    real, virtual = capsys.readouterr().out.splitlines()
    assert virtual.endswith(" (a virtual camera, some program's output)")
    assert "virtual" not in real


def test_cameras_of_pipewire_are_listed_once(system, capsys, monkeypatch):
    def camera(id: int, name: str, **more) -> dict:
        props = {"media.class": "Video/Source", "node.name": name, "client.id": 7, **more}
        return {"id": id, "info": {"state": "idle", "props": props}}

    known = [
        {"id": 7, "info": {"props": {"application.name": "Studio"}}},
        camera(1, "v4l2", **{"device.api": "v4l2", "api.v4l2.path": "/dev/video0"}),
        camera(2, "built_in", **{"device.api": "libcamera", "node.description": "Built-in"}),
        camera(3, "scene"),
        camera(4, "background_blur", **{"node.description": "Background blur"}),
        {"id": 5, "info": {"props": {"media.class": "Audio/Source"}}},
        {"id": 6, "info": None},
    ]
    monkeypatch.setattr(diagnostics.pipewire, "objects", lambda: known)
    monkeypatch.setattr(diagnostics.pipewire, "has_portal", lambda: True)
    assert diagnostics.list_cameras(FakeCapture) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "-  Built-in: PipeWire only; to use it: pw-v4l2 background-blur",
        f"-  scene: PipeWire only (the output of Studio); {diagnostics.SETTINGS}",
        "-  Background blur: PipeWire only (the output of this program); " + diagnostics.SETTINGS,
    ]


def check_virtual_camera(session) -> str:
    arguments = ["--check", "--source", "demo", "--size", "160x90", "--weights", "none.tflite"]
    command = [sys.executable, ROOT / "main.py", *arguments, "--virtual-camera", "pipewire"]
    return session.run(*command, timeout=60).stdout.splitlines()[2]


def test_check_tells_the_browsers_ways_to_the_pipewire_camera(desktop):
    line = check_virtual_camera(desktop)
    assert line.startswith(
        'ok    virtual camera: the PipeWire camera "Background blur" accepts 160x90; browsers find'
    )
    assert "Firefox where" in line and "chrome://flags" in line


@pytest.mark.skipif(not shutil.which("busctl"), reason="no busctl here to ask for the portal")
def test_without_a_portal_check_and_the_list_say_that_no_browser_finds_it(program, pipewire):
    line = check_virtual_camera(pipewire)
    assert line.startswith("fix   virtual camera: ")
    assert "but no browser finds it" in line and "install xdg-desktop-portal" in line
    program(pipewire)
    listed = pipewire.run(sys.executable, ROOT / "main.py", "--list-cameras", timeout=60)
    assert "(the output of this program); no browser finds it" in listed.stdout


def test_no_camera_is_one_line(system, caplog):
    for number in (0, 10, 2):
        (system / f"video{number}").unlink()
    assert diagnostics.list_cameras(FakeCapture) == 1
    assert caplog.messages == ["no camera found; plug one in, or try --source demo"]


def look_at(images, monkeypatch, warning=None) -> str:
    class Fake(Source):
        size, fps = (64, 48), 30.0

        def __iter__(self):
            return (Frame(image, 0.0) for image in images)

        def close(self):
            pass

    fake = Fake()
    fake.warning = warning
    monkeypatch.setattr(diagnostics, "open_source", lambda *_: fake)
    return diagnostics.source(SimpleNamespace(source="0", size=None, fps=None))


def test_a_black_camera_and_one_of_another_size_need_mending(monkeypatch):
    black, white = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8)
    assert look_at([black] * 3 + [white] * 9, monkeypatch) == "64x48, 30 frames/s"
    with pytest.raises(UserError, match="black"):
        look_at([black] * 50, monkeypatch)
    with pytest.raises(UserError, match="gives 64x48"):
        look_at([white], monkeypatch, "camera 0 gives 64x48, not the 1280x720 asked for")


def test_slow_machines_are_told_what_to_do(monkeypatch):
    now = iter(range(0, 100, 10))
    monkeypatch.setattr(diagnostics, "perf_counter", lambda: next(now))
    pipeline = lambda: lambda image: image  # noqa: E731
    args = SimpleNamespace(size=(64, 36), threads=2)
    with pytest.raises(UserError, match="only 2 frames/s at 64x36 .* --size"):
        diagnostics.speed(args, pipeline)
    monkeypatch.setattr(diagnostics, "perf_counter", iter([0.0, 0.2]).__next__)
    assert diagnostics.speed(args, pipeline) == "100 frames/s at 64x36 on 2 threads"


def test_check_prints_a_line_each_and_fails_where_something_needs_mending():
    arguments = ["--check", "--source", "demo", "--size", "160x90", "--weights", "none.tflite"]
    result = run(*arguments)
    assert result.returncode == 1 and result.stderr == ""
    lines = [line.partition(": ")[0] for line in result.stdout.splitlines()]
    assert lines[0] == "ok    source"
    assert lines[2].endswith(" virtual camera")
    assert lines[3] == "fix   weights and speed"
    if sys.platform.startswith("linux"):
        assert lines[1] == "missing (optional) display"


@pytest.mark.parametrize("asked, code", [(None, 0), ("", 1)])
def test_what_one_can_do_without_fails_no_check(monkeypatch, asked, code, capsys):
    def missing(args):
        raise UserError("not there")

    for name in ("display", "virtual_camera"):
        monkeypatch.setattr(diagnostics, name, missing)
    for name in ("source", "speed", "recordings"):
        monkeypatch.setattr(diagnostics, name, lambda *_, **__: "fine")
    assert diagnostics.check(SimpleNamespace(virtual_camera=asked, threads=1), None) == code
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["ok", "missing", "fix" if code else "missing", "ok", "ok"]


def test_list_cameras_as_its_users_start_it(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    if any(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    result = run("--list-cameras")
    assert_one_line(result)
    assert result.stdout == ""

"""The PipeWire camera, read by other programs through a real PipeWire."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from background_blur.capture import open_source
from background_blur.errors import SinkError
from background_blur.sinks import pipewire as client
from background_blur.sinks import pipewire_camera, virtual_camera
from background_blur.sinks.pipewire_camera import PipeWireSink
from background_blur.sinks.virtual_camera import VirtualCamera
from support.captures import COLOURS, colours, detail, is_blurred, is_sharp
from support.display import wait_until
from support.pipewire import PipeWireCamera, Session, Watcher, stalls

pytestmark = stalls

SIZE = 640, 360
NODE = "background_blur"
RESTING = 'main.py: no program reads the PipeWire camera "Background blur"; paused until one does'


@pytest.fixture
def here(pipewire, monkeypatch):
    """Makes this process itself use the session."""
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, pipewire.environment[name])
    return pipewire


@pytest.fixture
def sink(here):
    """A `PipeWireSink`, showing black."""
    sink = PipeWireSink("", SIZE, 30)
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    with open_source("demo", SIZE) as source:
        return next(iter(source)).image


def feed(sink, image: np.ndarray, until, what: str):
    """Sends a picture repeatedly until a condition holds."""

    def holds():
        sink.send(image)
        return until()

    return wait_until(holds, what)


# --- What readers get


def test_a_reader_is_promised_size_and_rate(sink, here):
    elements = f"pipewiresrc target-object={NODE} num-buffers=2 ! videoconvert ! fakesink"
    reader = here.popen("gst-launch-1.0", "-v", *elements.split())
    feed(sink, colours(*SIZE), lambda: reader.poll() is not None, "the reader to be served")
    caps = reader.communicate()[0]
    for part in ("format=(string)YUY2", "width=(int)640", "height=(int)360", "(fraction)30/1"):
        assert part in caps


def test_opencv_reads_it_through_v4l2(here):
    code = (
        "import cv2; camera = cv2.VideoCapture(0); images = [camera.read()[1] for _ in range(5)]; "
        "print(images[-1].shape, *images[-1][[100, 100, 500], [100, 900, 100]].ravel())"
    )
    sink = PipeWireSink("", (1280, 720), 30)
    try:
        reader = here.popen("pw-v4l2", sys.executable, "-c", code)
        feed(sink, colours(1280, 720), lambda: reader.poll() is not None, "OpenCV to be served")
        shape, values = reader.communicate()[0].split(")")
        assert shape == "(720, 1280, 3"
        wanted = COLOURS.reshape(4, 3)[:3].ravel().astype(int)
        assert np.abs(np.array(values.split(), int) - wanted).max() < 8
    finally:
        sink.close()


def test_readers_come_and_go_and_come_back(program, pipewire, demo):
    sender = program(pipewire)
    for _ in range(2):
        with (
            Watcher(pipewire, SIZE) as one,
            Watcher(pipewire, SIZE) as other,
            ThreadPoolExecutor() as pool,
        ):
            # In parallel, since a reader that stops reading would hold all the buffers.
            both = list(pool.map(lambda watcher: watcher.frames(10), (one, other)))
        for frames in both:
            assert len(frames) == 10 and all(is_blurred(image, demo) for image in frames)
    sender.send_signal(signal.SIGINT)
    sender.communicate(timeout=30)
    assert sender.returncode == 130
    wait_until(lambda: not pipewire.node(NODE), "the camera to go")


def test_it_rests_while_nobody_reads_and_wakes_covered_up(program, pipewire, demo):
    sender = program(pipewire)
    wait_until(lambda: RESTING in sender.errors() and pipewire.node(NODE), "the rest")
    with Watcher(pipewire, SIZE) as watcher:
        first, *later = watcher.frames(60)
    assert detail(first) < 5  # nothing but soft spots
    assert all(is_blurred(image, demo) for image in later)
    assert is_sharp(later[-1], demo)


@pytest.mark.slow
def test_the_webcam_is_off_while_nobody_reads(program, pipewire, demo):
    """The path from a webcam, through V4L2, into PipeWire."""

    def state() -> str | None:
        return (pipewire.node("webcam") or {}).get("state")

    with PipeWireCamera(pipewire, [demo]):
        sender = program(pipewire, source="0", through="pw-v4l2")
        wait_until(lambda: RESTING in sender.errors(), "the rest")
        wait_until(lambda: state() in ("idle", "suspended"), "the webcam to be off")
        wait_until(lambda: pipewire.node(NODE), "the camera to be there")
        with Watcher(pipewire, SIZE) as watcher:
            assert not is_sharp(watcher.frames(1)[0], demo)
            wait_until(lambda: is_sharp(watcher.frames(1)[0], demo), "the person")
            assert state() == "running"
        wait_until(lambda: state() in ("idle", "suspended"), "the webcam to be off again")


# --- What goes wrong


def test_nobody_reading_blocks_no_frame(sink, here):
    for _ in range(300):
        sink.send(colours(*SIZE))
        time.sleep(0.005)
    assert here.node(NODE)["state"] != "running" and not sink.has_consumers()


def test_a_helper_that_ends_is_started_again_once(sink, here):
    picture = colours(*SIZE)
    first = sink._gstreamer._process.pid
    os.kill(first, signal.SIGKILL)
    feed(sink, picture, lambda: sink._gstreamer._process.pid != first, "another process")
    feed(sink, picture, sink._monitor.appeared.is_set, "the camera to be back")
    with Watcher(here, SIZE) as watcher:
        feed(sink, picture, watcher.has_frames, "a frame to be read")
        assert len(watcher.frames(1)) == 1
    os.kill(sink._gstreamer._process.pid, signal.SIGKILL)
    with pytest.raises(SinkError, match="signal 9; run: systemctl --user restart") as caught:
        feed(sink, picture, lambda: False, "the end")
    assert "\n" not in str(caught.value)


def test_a_helper_that_hangs_holds_up_no_frame_and_is_replaced(sink, monkeypatch):
    monkeypatch.setattr(pipewire_camera, "WRITE_TIMEOUT", 0.3)
    first = sink._gstreamer._process.pid
    os.kill(first, signal.SIGSTOP)
    feed(sink, colours(*SIZE), lambda: sink._gstreamer._process.pid != first, "another process")


@pytest.mark.slow
def test_the_program_outlives_a_restart_of_pipewire(program, demo):
    session = Session()
    try:
        sender = program(session)
        session.stop_daemon()
        session.start()
        wait_until(lambda: session.node(NODE), "the camera to be back")
        with Watcher(session, SIZE) as watcher:
            assert len(watcher.frames(5)) == 5
        assert sender.poll() is None
        session.stop_daemon()
        assert sender.wait(30) == 1
        assert sender.errors()[-1].startswith("main.py: ")
        assert "Traceback" not in "".join(sender.errors())
    finally:
        session.stop()


def test_without_pw_dump_it_works_but_nobody_knows_who_reads_it(here, monkeypatch):
    monkeypatch.setattr(client, "shutil", SimpleNamespace(which=lambda name: None))
    sink = PipeWireSink("", SIZE, 30)
    try:
        feed(sink, colours(*SIZE), lambda: here.node(NODE), "the camera to appear")
        with Watcher(here, SIZE) as watcher:
            feed(sink, colours(*SIZE), lambda: here.node(NODE)["state"] == "running", "the reader")
            assert sink.has_consumers() is None
            feed(sink, colours(*SIZE), lambda: True, "a frame")
            assert len(watcher.frames(1)) == 1
    finally:
        sink.close()


# --- What is missing


def why(name="", size=SIZE) -> str:
    with pytest.raises(SinkError) as caught:
        PipeWireSink(name, size, 30)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def programs(monkeypatch) -> set[str]:
    """The installed programs, on a system where PipeWire is not running."""
    there = {"gst-launch-1.0", "pipewire", "pw-dump"}
    fake = SimpleNamespace(which=lambda name: name if name in there else None)
    for module in (pipewire_camera, client):
        monkeypatch.setattr(module, "shutil", fake)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    return there


@pytest.mark.parametrize(
    "release, command",
    [
        ("ID=ubuntu\nID_LIKE=debian", "sudo apt install pipewire wireplumber gstreamer1.0-tools"),
        ("ID=fedora", "sudo dnf install pipewire-utils gstreamer1"),
        ("ID=manjaro\nID_LIKE=arch", "sudo pacman -S pipewire"),
    ],
)
def test_without_gstreamer_it_gives_the_systems_own_command(
    programs, monkeypatch, tmp_path, release, command
):
    programs.remove("gst-launch-1.0")
    monkeypatch.setattr(pipewire_camera, "RELEASE", tmp_path / "os-release")
    (tmp_path / "os-release").write_text(release)
    assert f"needs GStreamer; run: {command}" in why()


def test_without_pipewire_it_says_how_to_start_it(programs):
    start = "systemctl --user start pipewire wireplumber"
    assert why() == f"PipeWire is not running here; run: {start}"
    programs.remove("pipewire")
    assert why().startswith("PipeWire is not running here; run: sudo ")
    assert why().endswith(f" && {start}")


def test_without_the_plugin_it_gives_the_command(here, monkeypatch, tmp_path):
    monkeypatch.setenv("GST_PLUGIN_SYSTEM_PATH_1_0", str(tmp_path))
    monkeypatch.setenv("GST_REGISTRY_1_0", str(tmp_path / "registry"))
    assert "GStreamer lacks a plugin that this camera needs; run: sudo " in why()


def test_a_name_that_is_taken(sink):
    text = why()
    assert 'there is already a PipeWire camera "Background blur"' in text
    assert "--virtual-camera pipewire:NAME" in text
    PipeWireSink("Another (one)", SIZE, 30).close()


def test_a_name_that_cannot_be(here):
    assert "letters, digits" in why('x",y')


def test_an_old_pipewire_is_named(here, monkeypatch):
    monkeypatch.setattr(client, "version", lambda known: (0, 3, 20))
    monkeypatch.setattr(pipewire_camera, "pipeline", lambda *_: ["fakesrc", "num-buffers=1", "!"])
    assert "PipeWire 0.3.20 is too old" in why()


def test_plainly_asked_it_takes_pipewire_where_there_is_no_driver(here, monkeypatch, tmp_path):
    monkeypatch.setattr(virtual_camera, "NODES", tmp_path)
    with VirtualCamera(None, (641, 361), 30) as camera:
        assert camera.device == 'the PipeWire camera "Background blur"'
        assert camera.size == SIZE


def test_plainly_asked_where_there_is_nothing_it_gives_both_commands(
    programs, monkeypatch, tmp_path
):
    for name in ("NODES", "LOADED"):
        monkeypatch.setattr(virtual_camera, name, tmp_path / name)
    with pytest.raises(SinkError) as caught:
        virtual_camera.VirtualCamera("", SIZE, 30)
    text = str(caught.value)
    assert "modprobe v4l2loopback" in text
    assert "; or, without a driver: PipeWire is not running" in text

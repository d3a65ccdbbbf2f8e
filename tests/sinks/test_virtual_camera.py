"""The virtual camera: v4l2loopback, whose device the program writes to, and the others."""

import errno
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from background_blur.capture import open_source
from background_blur.errors import SinkError
from background_blur.frames import Frame
from background_blur.imaging import letterbox
from background_blur.sinks.virtual_camera import VirtualCamera
from support.captures import colours, detail, is_blurred, is_sharp
from support.display import wait_until
from support.program import assert_one_line, read, run, start
from support.videos import record_demo
from support.virtual_camera import frames


@pytest.fixture
def clip(tmp_path) -> Path:
    """Half a second of the demo, 160x90, 10 frames per second."""
    return record_demo(tmp_path / "clip.mp4", 5, fps=10)


# --- v4l2loopback


def written(loopback: Path, size) -> int:
    """How many frames have been."""
    return (loopback / "dev/video9").stat().st_size // (size[0] * size[1] * 3 // 2)


def test_a_video_goes_to_the_camera_frame_by_frame_and_into_a_file(loopback, clip, tmp_path):
    out = tmp_path / "out.mp4"
    result = run("--source", clip, "--virtual-camera", "--no-window", "--output", out)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("sending 160x90 to /dev/video9\n5 frames")
    assert result.stderr == ""
    assert (loopback / "format").read_text() == "YU12 160x90"
    sent = frames(loopback, (160, 90))
    assert len(sent) == len(read(out)) == 5
    for image, kept in zip(sent, read(out), strict=True):
        assert np.abs(image.astype(int) - kept).mean() < 4


def test_without_a_display_it_sends_all_the_same_at_the_size_and_to_the_device_asked(
    loopback, clip
):
    result = run("--source", clip, *["--virtual-camera", "9", "--size", "64x48", "--view", "split"])
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("sending 64x48 to /dev/video9\n")
    assert len(frames(loopback, (64, 48))) == 5


@pytest.mark.slow
def test_a_picture_is_sent_in_its_colours_until_ctrl_c(loopback, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "notes.txt").write_text("of no picture")
    cv2.imwrite(str(folder / "photo.png"), colours(64, 48))
    process = start("--source", folder, "--virtual-camera", "--no-window")
    wait_until(lambda: written(loopback, (64, 48)) > 3, "four frames")
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert errors.endswith("notes.txt: neither picture nor video, left alone\n")
    sent = frames(loopback, (64, 48))
    assert all(np.array_equal(frame, sent[0]) for frame in sent)
    corners = np.s_[[3, 3, -3, -3], [3, -3, 3, -3]]
    assert np.abs(sent[0][corners].astype(int) - colours(64, 48)[corners]).max() < 8


@pytest.mark.slow
def test_nothing_is_sharp_before_the_first_mask_nor_while_nobody_reads_nor_hidden(
    loopback, tmp_path
):
    size, said = (640, 360), tmp_path / "errors"
    (loopback / "readers").write_text("0")
    command = ["--source", "demo", "--size", "640x360", "--virtual-camera", "--no-window"]
    process = start(*command, stderr=said.open("w"))

    def count() -> int:
        return written(loopback, size)

    try:
        wait_until(lambda: "reads /dev/video9; paused until" in said.read_text(), "the rest")
        resting = count()
        wait_until(lambda: count() > resting + 1, "a sign of life")
        woken = count()
        (loopback / "readers").write_text("1")
        wait_until(lambda: count() > woken + 60, "a reader to be served")
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "everything is hidden" in said.read_text(), "to be hidden")
        hidden = count()
        wait_until(lambda: count() > hidden + 20, "more frames")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    with open_source("demo", size) as source:
        demo = next(iter(source)).image
    sent = frames(loopback, size)
    assert all(detail(image) < 5 for image in sent[resting : woken + 1])
    assert all(is_blurred(image, demo) for image in sent)
    assert is_sharp(sent[woken + 60], demo)
    assert not any(is_sharp(image, demo) for image in sent[hidden + 1 :])


@pytest.mark.parametrize(
    "name, text, device, parts",
    [
        ("capture", "", "9", ["/dev/video9 is busy", "sudo fuser -v /dev/video9"]),
        ("capture", "", "", ["camera is busy", "sudo fuser -v /dev/video9; or, without a driver"]),
        ("open", errno.EBUSY, "9", ["/dev/video9 is busy"]),
        ("open", errno.EACCES, "9", ["no permission for /dev/video9", "usermod -aG video $USER"]),
        ("set_format", errno.EBUSY, "9", ["/dev/video9 is busy"]),
        ("set_format", errno.EINVAL, "9", ["does not accept 160x90 frames", "--size"]),
        ("held", "YUYV 160x90", "9", ["/dev/video9 is busy", "in another format"]),
        ("held", "YU12 640x480", "", ["/dev/video9 is held at 640x480", "--size 640x480"]),
        ("write", errno.EINVAL, "", ["accepts no frames (Invalid argument)", "sudo fuser -v"]),
        ("unused", "", "8", ["/dev/video8: no such", "give one of /dev/video9", "video_nr=8"]),
        ("unused", "", "cam 2", ["cam 2: no such virtual camera"]),
    ],
)
def test_what_goes_wrong_is_one_line_and_what_came_before_it_is_kept(
    loopback, clip, tmp_path, name, text, device, parts
):
    (loopback / name).write_text(str(text))
    out = tmp_path / "out.mp4"
    result = run("--source", clip, f"--virtual-camera={device}", "--output", out)
    assert_one_line(result, *parts)
    assert list(tmp_path.glob("out*")) == [out] * (name == "write")


def test_without_the_driver_it_gives_the_command_that_installs_it(loopback, clip):
    shutil.rmtree(loopback / "sys")
    load = 'sudo modprobe v4l2loopback exclusive_caps=1 card_label="Background blur"'
    install = "sudo apt install v4l2loopback-dkms && "
    result = run("--source", clip, "--virtual-camera")
    assert_one_line(result, f"no driver for virtual cameras; run: {install}{load}; or, without")
    kernel = loopback / "lib/modules" / os.uname().release
    kernel.mkdir(parents=True)
    (kernel / "modules.dep").write_text("updates/dkms/v4l2loopback.ko: kernel/videodev.ko\n")
    result = run("--source", clip, "--virtual-camera", "8")
    assert_one_line(result, f"no driver for virtual cameras; run: {load}")


# --- The sink


def test_frames_of_another_size_are_fitted(fake):
    with VirtualCamera(None, (65, 49), 30) as camera:
        assert camera.size == (64, 48)
        image = np.full((100, 50, 3), 200, np.uint8)
        camera.write(Frame(image, 0.0))
    assert np.array_equal(fake.images, [letterbox(image, (64, 48))])
    camera.close()
    assert fake.closed == 1


def test_a_paced_camera_waits_for_the_frames_time(fake, monkeypatch):
    now, slept = [50.0], []
    monkeypatch.setattr("background_blur.sinks.base.monotonic", lambda: now[0])
    monkeypatch.setattr("background_blur.sinks.virtual_camera.sleep", slept.append)
    image = np.zeros((48, 64, 3), np.uint8)
    for paced in (True, False):
        with VirtualCamera(None, (64, 48), 30, paced=paced) as camera:
            camera.write(Frame(image, 2.0))
            camera.write(Frame(image, 2.5))
    assert slept == [0.0, 0.5]


def test_repeats_come_at_the_cameras_rate(fake, monkeypatch):
    now = [50.0]
    monkeypatch.setattr("background_blur.sinks.virtual_camera.monotonic", lambda: now[0])
    with VirtualCamera(None, (64, 48), 10) as camera:
        camera.write(Frame(np.zeros((48, 64, 3), np.uint8), 0.0))
        for _ in range(100):
            now[0] += 0.011
            camera.repeat()
    assert len(fake.images) == 11


# --- macOS and Windows


def why(monkeypatch, module) -> str:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    with pytest.raises(SinkError) as error, VirtualCamera(None, (64, 48), 30) as camera:
        camera.write(Frame(np.zeros((48, 64, 3), np.uint8), 0.0))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("system, command", [("darwin", "brew"), ("win32", "winget")])
def test_macos_and_windows(monkeypatch, system, command):
    monkeypatch.setattr(sys, "platform", system)
    text = why(monkeypatch, None)
    command_line = f"{shlex.quote(sys.executable)} -m pip install pyvirtualcam"
    assert text == f"--virtual-camera needs pyvirtualcam; run: {command_line}"

    def open_camera(*_, **__):
        raise RuntimeError(reason)

    obs = SimpleNamespace(PixelFormat=SimpleNamespace(BGR="BGR"), Camera=open_camera)
    reason = "OBS Virtual Camera device not found!\nDid you install OBS?"
    text = why(monkeypatch, obs)
    assert f"run: {command} install" in text and "Start Virtual Camera" in text
    reason = "virtual camera output could not be started"
    assert "busy" in why(monkeypatch, obs)


def test_pyvirtualcam_is_sent_the_frames_until_it_fails(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    sent, closed = [], []

    def send(image):
        sent.append(image)
        raise RuntimeError("the device is gone")

    def open_camera(width, height, fps, *, fmt, device):
        assert (width, height, fps, fmt, device) == (64, 48, 30, "BGR", None)
        return SimpleNamespace(device="OBS", send=send, close=lambda: closed.append(True))

    module = SimpleNamespace(PixelFormat=SimpleNamespace(BGR="BGR"), Camera=open_camera)
    assert why(monkeypatch, module).startswith("OBS no longer accepts frames (the device is gone)")
    assert sent[0].shape == (48, 64, 3) and closed == [True]

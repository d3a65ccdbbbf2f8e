"""The virtual camera, with a fake pyvirtualcam that keeps what it is sent."""

import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from background_blur.capture import open_source
from background_blur.errors import SinkError
from background_blur.frames import Frame
from background_blur.imaging import letterbox
from background_blur.sinks import virtual_camera as virtual
from background_blur.sinks.virtual_camera import VirtualCamera
from support.display import wait_until
from support.program import assert_one_line, read, run, start
from support.videos import record_demo
from support.virtual_camera import frames


@pytest.fixture
def clip(tmp_path) -> Path:
    """Half a second of the demo, 160x90, 10 frames per second."""
    return record_demo(tmp_path / "clip.mp4", 5, fps=10)


# --- The program


def test_a_video_goes_to_the_camera_frame_by_frame_and_into_a_file(fake, clip, tmp_path):
    out = tmp_path / "out.mp4"
    result = run("--source", clip, "--virtual-camera", "--no-window", "--output", out)
    assert result.returncode == 0, result.stderr
    assert len(read(out)) == 5
    assert result.stdout.startswith("sending 160x90 to /dev/video42\n5 frames")
    assert result.stderr == ""
    sent = frames(fake, (160, 90))
    assert len(sent) == 5 and sent[0].any()
    assert fake.with_name("sent.closed").exists()


def test_without_a_display_it_sends_all_the_same_at_the_size_and_to_the_device_asked(fake, clip):
    arguments = ["--virtual-camera", "cam 2", "--size", "64x48", "--view", "split"]
    result = run("--source", clip, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("sending 64x48 to cam 2\n")
    assert len(frames(fake, (64, 48))) == 5


@pytest.mark.slow
def test_a_picture_is_sent_until_ctrl_c(fake, tmp_path, portrait):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "notes.txt").write_text("of no picture")
    cv2.imwrite(str(folder / "photo.png"), cv2.resize(portrait, (64, 48)))
    process = start("--source", folder, "--virtual-camera", "--no-window")
    wait_until(lambda: fake.exists() and fake.stat().st_size > 3 * 64 * 48 * 3, "four frames")
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert errors.endswith("notes.txt: neither picture nor video, left alone\n")
    sent = frames(fake, (64, 48))
    assert all(np.array_equal(frame, sent[0]) for frame in sent)
    assert fake.with_name("sent.closed").exists()


@pytest.mark.parametrize(
    "variable, text, kept",
    [("FAKE_ERROR", "no such\ndevice", 0), ("FAKE_FULL", "the device is gone", 1)],
)
def test_what_goes_wrong_is_one_line_and_the_frames_before_it_are_kept(
    fake, clip, tmp_path, monkeypatch, variable, text, kept
):
    monkeypatch.setenv(variable, text)
    out = tmp_path / "out.mp4"
    result = run("--source", clip, "--virtual-camera", "--output", out)
    assert_one_line(result)
    assert list(tmp_path.glob("out*")) == [out] * kept
    assert not kept or len(list(open_source(str(out)))) == kept


def test_without_pyvirtualcam_it_gives_the_command_that_installs_it(fake, clip):
    (fake.parent / "pyvirtualcam.py").write_text("raise ImportError('none')")
    result = run("--source", clip, "--virtual-camera", "--no-window")
    command = f"{sys.executable} -m pip install pyvirtualcam"
    assert_one_line(result, f"--virtual-camera needs pyvirtualcam; run: {command}")


# --- The sink


def test_frames_of_another_size_are_fitted(fake):
    with VirtualCamera(None, (65, 49), 30) as camera:
        assert camera.size == (64, 48)
        image = np.full((100, 50, 3), 200, np.uint8)
        camera.write(Frame(image, 0.0))
    assert np.array_equal(frames(fake, (64, 48))[0], letterbox(image, (64, 48)))
    camera.close()


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
    assert len(frames(fake, (64, 48))) == 11


# --- Error messages on each system


@pytest.fixture
def linux(fake, tmp_path, monkeypatch) -> Path:
    """A Linux with the driver loaded and two virtual cameras."""
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("LOADED", "NODES", "KERNELS"):
        monkeypatch.setattr(virtual, name, tmp_path / name)
    for path in ("LOADED", "NODES/video8", "NODES/video42"):
        (tmp_path / path).mkdir(parents=True)
    return tmp_path


def why(device=None, reason="No v4l2 loopback device found", monkeypatch=None) -> str:
    if monkeypatch:
        monkeypatch.setenv("FAKE_ERROR", reason)
    with pytest.raises(SinkError) as error:
        VirtualCamera(device, (64, 48), 30)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_linux_without_the_driver(linux, monkeypatch):
    (linux / "LOADED").rmdir()
    load = 'sudo modprobe v4l2loopback exclusive_caps=1 card_label="Background blur"'
    install = "sudo apt install v4l2loopback-dkms && "
    text = why(monkeypatch=monkeypatch)
    assert text.startswith(f"no driver for virtual cameras; run: {install}{load}; or, without")
    kernel = linux / "KERNELS" / os.uname().release
    kernel.mkdir(parents=True)
    (kernel / "modules.dep").write_text("updates/dkms/v4l2loopback.ko: kernel/videodev.ko\n")
    assert why("8") == f"no driver for virtual cameras; run: {load}"


@pytest.mark.parametrize(
    "device, reason, parts",
    [
        ("9", "does not exist", ["/dev/video9: ", "/dev/video42, /dev/video8, or", "video_nr=9"]),
        ("8", "is not a video output device", ["video8 is busy", "sudo fuser -v /dev/video8"]),
        (None, "No device found", ["is busy", "sudo fuser -v /dev/video42 /dev/video8"]),
        ("8", "due to missing permissions.", ["no permission", "sudo usermod -aG video $USER"]),
        ("8", "could not be configured: Invalid argument", ["64x48", "--size"]),
    ],
)
def test_linux_with_the_driver(linux, monkeypatch, device, reason, parts):
    text = why(device, reason, monkeypatch)
    assert all(part in text for part in parts), text


def test_a_device_that_a_call_holds_at_another_size(linux, fake):
    (linux / "NODES/video42/format").write_text("YU12:640x480@30/1\n")
    text = why()
    assert "held at 640x480" in text and "--size 640x480" in text
    assert fake.with_name("sent.closed").exists()
    (linux / "NODES/video42/format").write_text("YU12:64x48@30/1\n")
    VirtualCamera(None, (64, 48), 30).close()


@pytest.mark.parametrize("system, command", [("darwin", "brew"), ("win32", "winget")])
def test_macos_and_windows(fake, monkeypatch, system, command):
    monkeypatch.setattr(sys, "platform", system)
    text = why(None, "OBS Virtual Camera device not found!\nDid you install OBS?", monkeypatch)
    assert f"run: {command} install" in text and "Start Virtual Camera" in text
    text = why(None, "virtual camera output could not be started", monkeypatch)
    assert "busy" in text

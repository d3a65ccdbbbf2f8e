"""A virtual camera, which looks like a webcam to video call programs."""

import errno
import os
import platform
import re
import shlex
import struct
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

import cv2
import numpy as np

from background_blur.errors import SinkError
from background_blur.frames import Frame, Size
from background_blur.imaging import letterbox
from background_blur.sinks.base import PacedSink
from background_blur.sinks.pipewire_camera import PipeWireSink

NAME = "Background blur"  # as calls list it, on Linux
LOAD = f'sudo modprobe v4l2loopback exclusive_caps=1 card_label="{NAME}"'
OBS = {"darwin": "brew install --cask obs", "win32": "winget install OBSProject.OBSStudio"}
LOADED = Path("/sys/module/v4l2loopback")
NODES = Path("/sys/devices/virtual/video4linux")  # on Linux, a folder for each virtual camera
KERNELS = Path("/lib/modules")
# From Linux's videodev2.h: ask whether a device can be written to, and set what is written.
CAPABILITIES, CAPABILITIES_BYTES, OUTPUT = 0x80685600, 104, 2
SET_FORMAT, FORMAT_BYTES, OUTPUT_BUFFERS = 0xC0D05605, 208, 2
# From there and from v4l2loopback: subscribe to the event that says whether a program reads the
# device, which is sent immediately, and fetch it.
SUBSCRIBE, TAKE, READ_EVENT, AT_ONCE = 0x4020565A, 0x80885659, 0x10E00001, 1
EVENT_BYTES = 136


class VirtualCameraBackend(Protocol):
    """What makes a virtual camera.

    Attributes:
        device: what to call it in messages.
    """

    device: str

    def send(self, image: np.ndarray) -> None:
        """Takes the next frame, uint8 [H,W,3] BGR of the camera's size; raises SinkError."""

    def has_consumers(self) -> bool | None:
        """Whether a program reads the camera; None if the system does not say."""

    def readers(self) -> list[str] | None:
        """The programs that read the camera; None if the system does not say."""

    def close(self) -> None:
        """Must be called only once."""


class VirtualCamera(PacedSink):
    """Sends frames to a virtual camera, letterboxed to its size, which never changes."""

    closed = False

    def __init__(self, device: str | None, size: Size, fps: float, *, paced: bool = False):
        """Opens the camera.

        Args:
            device: its name, on Linux a path; or "pipewire" or "pipewire:NAME"; None or "" for the
                first free one.
            size: (width, height) to send; odd sides lose a pixel, as the format needs even ones.
            fps: frames per second; all cameras but v4l2loopback announce it to their readers.
            paced: frames come faster than they are shown, so `write` waits until each is due.

        Raises:
            SinkError: the driver or the library for it is missing, or the device is missing, busy,
                or held at another size.
        """
        self.size = max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)
        self.fps, self.paced = fps, paced
        self.backend = open_backend(device or "", self.size, fps)
        self.device = self.backend.device

    def write(self, frame: Frame) -> None:
        if self.paced:
            sleep(max(0.0, self.seconds_until(frame.time)))
        self.last = letterbox(frame.image, self.size)
        self.send()

    def repeat(self) -> None:
        """Repeats the last frame once the next is due, since readers of a camera expect frames."""
        if monotonic() - self.sent >= 1 / self.fps:
            self.send()

    def send(self) -> None:
        self.backend.send(self.last)
        self.sent = monotonic()

    def has_consumers(self) -> bool | None:
        return self.backend.has_consumers()

    def readers(self) -> list[str] | None:
        return self.backend.readers()

    def close(self) -> None:
        if not self.closed:
            self.backend.close()
        self.closed = True


def open_backend(device: str, size: Size, fps: float) -> VirtualCameraBackend:
    """Opens the requested backend, or whichever works; raises SinkError."""
    if not sys.platform.startswith("linux"):
        return DriverSink(device, size, fps)
    kind, _, name = device.partition(":")
    if kind == "pipewire":
        return PipeWireSink(name, size, fps)
    if device:
        return LoopbackSink(f"/dev/video{device}" if device.isdecimal() else device, size)
    try:
        return LoopbackSink("", size)
    except SinkError as error:
        no_driver = error
    try:
        return PipeWireSink("", size, fps)
    except SinkError as error:
        raise SinkError(f"{no_driver}; or, without a driver: {error}") from error


class LoopbackSink:
    """A virtual camera from v4l2loopback, a driver for Linux."""

    def __init__(self, device: str, size: Size):
        """Opens the device; "" for the first free one. Raises SinkError."""
        problem = OSError(errno.ENODEV, "")
        for self.device in [device] if device else nodes():
            try:
                self.handle, kept = open_output(self.device, size)
                break
            except OSError as error:
                problem = error
        else:
            raise SinkError(linux_problem(device, size, problem)) from problem
        if kept != size:
            self.close()
            held = "{}x{}".format(*kept)
            hint = f"end the call that reads it, or give --size {held}"
            raise SinkError(f"{self.device} is held at {held}; {hint}")

    def send(self, image: np.ndarray) -> None:
        try:
            os.write(self.handle, cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).data)
        except OSError as error:
            why = f"{self.device} accepts no frames ({error.strerror})"
            hint = f"if another program sends to it, this names it: sudo fuser -v {self.device}"
            raise SinkError(f"{why}; {hint}") from error

    def has_consumers(self) -> bool | None:
        """Asks v4l2loopback, which answers from version 0.13 on.

        The device is reopened each time, since an existing subscriber hears only of changes, and
        might miss one.
        """
        assert sys.platform != "win32"
        import fcntl

        try:
            handle = os.open(self.device, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            fcntl.ioctl(handle, SUBSCRIBE, struct.pack("=8I", READ_EVENT, 0, AT_ONCE, *[0] * 5))
            event = fcntl.ioctl(handle, TAKE, bytes(EVENT_BYTES))
        except OSError:  # an older driver, or another one
            return None
        finally:
            os.close(handle)
        return struct.unpack_from("=I", event, 8)[0] > 0

    def readers(self) -> None:
        return None

    def close(self) -> None:
        os.close(self.handle)


def open_output(device: str, size: Size) -> tuple[int, Size]:
    """Opens a Linux device to write I420 frames of this size.

    Returns:
        Its file descriptor, and the size it accepts, which cannot change while a program reads it.

    Raises:
        OSError: it cannot be opened; EBUSY if another program sends to it, or holds its format.
    """
    assert sys.platform != "win32"
    import fcntl

    handle = os.open(device, os.O_WRONLY | os.O_NONBLOCK)
    try:
        about = fcntl.ioctl(handle, CAPABILITIES, bytes(CAPABILITIES_BYTES))
        if not struct.unpack_from("=I", about, 84)[0] & OUTPUT:
            raise OSError(errno.EBUSY, "no output")
        asked = struct.pack("=I4x2I4s", OUTPUT_BUFFERS, *size, b"YU12").ljust(FORMAT_BYTES, b"\0")
        given = fcntl.ioctl(handle, SET_FORMAT, asked)
        width, height, pixels = struct.unpack_from("=2I4s", given, 8)
        if pixels != b"YU12":
            raise OSError(errno.EBUSY, "another format")
    except OSError:
        os.close(handle)
        raise
    return handle, (width, height)


class DriverSink:
    """A virtual camera on macOS or Windows: OBS or UnityCapture."""

    def __init__(self, device: str, size: Size, fps: float):
        """Opens the device; "" for the first free one. Raises SinkError."""
        try:
            import pyvirtualcam  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            command = f"{shlex.quote(sys.executable)} -m pip install pyvirtualcam"
            raise SinkError(f"--virtual-camera needs pyvirtualcam; run: {command}") from error
        try:
            self.camera = pyvirtualcam.Camera(
                *size, fps, fmt=pyvirtualcam.PixelFormat.BGR, device=device or None
            )
        except Exception as error:  # each backend raises different exceptions
            raise SinkError(camera_problem(device, str(error))) from error
        self.device = self.camera.device

    def send(self, image: np.ndarray) -> None:
        try:
            self.camera.send(image)
        except Exception as error:
            hint = "if it is gone, start OBS, then start again"
            raise SinkError(f"{self.device} no longer accepts frames ({error}); {hint}") from error

    def has_consumers(self) -> None:
        return None

    def readers(self) -> None:
        return None

    def close(self) -> None:
        self.camera.close()


def nodes() -> list[str]:
    """Lists the devices of all virtual cameras on Linux, by number."""
    names = sorted(node.name for node in NODES.glob("video*"))
    return [f"/dev/{name}" for name in sorted(names, key=len)]


def camera_problem(device: str, reason: str) -> str:
    """Says on one line why OBS's virtual camera did not open, and which command fixes it."""
    if "start" in reason or "not supported" in reason:
        return "the virtual camera is busy; stop it in OBS, and end other programs that send to it"
    install = OBS.get(sys.platform, "install OBS Studio")
    then = "start OBS, click Start Virtual Camera once, and close OBS"
    return f"no virtual camera {device or 'here'}; run: {install}; then {then}"


def linux_problem(device: str, size: Size, error: OSError) -> str:
    """Says on one line why no v4l2loopback camera opened, and which command fixes it."""
    name = device or "virtual camera"
    if not LOADED.exists():
        return f"no driver for virtual cameras; run: {install_command()}{LOAD}"
    if error.errno == errno.EACCES:
        return f"no permission for {name}; run: sudo usermod -aG video $USER; log out and in again"
    there = nodes()
    if not there or device not in ["", *there]:
        reload = f"sudo modprobe -r v4l2loopback; {LOAD}"
        if number := re.fullmatch(r"/dev/video(\d+)", device):
            reload += f" video_nr={number[1]}"
        choice = f"give one of {', '.join(there)}, or " if there else ""
        what = f"{device}: no such" if device else "no"
        return f"{what} virtual camera; {choice}run: {reload}"
    if error.errno == errno.EINVAL:
        return f"{name} does not accept {size[0]}x{size[1]} frames; give another --size"
    who = f"sudo fuser -v {device or ' '.join(there)}"
    why = "end the program that sends to it, or reads it at another size or in another format"
    return f"{name} is busy; {why}, which this command names: {who}"


def install_command() -> str:
    """The command to run first, or "" if the driver is installed for the running kernel."""
    try:
        installed = "v4l2loopback" in (KERNELS / platform.release() / "modules.dep").read_text()
    except OSError:
        installed = False
    return "" if installed else "sudo apt install v4l2loopback-dkms && "

"""`--list-cameras`, and `--check`, which tests what usually goes wrong."""

import logging
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from background_blur.capture import open_source
from background_blur.capture.base import CAMERA_SIZE
from background_blur.capture.camera import (
    BLACK,
    DEVICES,
    camera_problem,
    is_black,
    request_size,
    set_up_opencv,
)
from background_blur.errors import UserError
from background_blur.frames import Size, plural
from background_blur.options import Options
from background_blur.sinks import pipewire
from background_blur.sinks.pipewire_camera import NAME, PipeWireSink, node_name
from background_blur.sinks.unfinished import folder_of, leftovers
from background_blur.sinks.video import ENCODERS
from background_blur.sinks.virtual_camera import VirtualCamera
from background_blur.sinks.window import check_display
from background_blur.system import COMMAND, suppress_stderr

NAMES = Path("/sys/class/video4linux")
MODES = (640, 480), (1280, 720), (1920, 1080), (3840, 2160)  # sizes to ask cameras for
PROBED = 6  # camera numbers to try if the system lists none
OpenCamera = Callable[[int], cv2.VideoCapture]
Pipeline = Callable[[np.ndarray], object]  # a `blur.BackgroundBlur`, given an image

TESTED_FRAMES = 20  # from the camera, and for the speed
MIN_FPS = 24
# Has a folder for each camera without hardware.
VIRTUAL = Path("/sys/devices/virtual/video4linux")
SETTINGS = (
    "browsers find it through the desktop's portal: Firefox where about:config has "
    "media.webrtc.camera.allow-pipewire true, Chrome after "
    "chrome://flags/#enable-webrtc-pipewire-camera"
)
NO_PORTAL = (
    "no browser finds it: the desktop's portal is missing; install xdg-desktop-portal and its "
    "backend for your desktop, then log in again"
)

log = logging.getLogger(__name__)


def list_cameras(open: OpenCamera = cv2.VideoCapture) -> int:
    """Prints a line per camera: number, name, and the sizes and rates it supports.

    Cameras that only PipeWire offers have no number and come last. Returns 1 if there are none.
    """
    set_up_opencv()
    found = False
    for number in camera_numbers():
        if modes := camera_modes(number, open):
            found = True
            print(f"{number}  {camera_name(number)}: {', '.join(modes)}{note_if_virtual(number)}")
    for camera in pipewire.cameras(pipewire.objects()):
        if not camera.device:
            found = True
            print(f"-  {camera.description}: PipeWire only{note_on_origin(camera)}")
    if not found:
        log.error(camera_problem(0))
    return 0 if found else 1


def camera_numbers() -> list[int]:
    if sys.platform.startswith("linux"):
        return sorted(int(path.name[5:]) for path in DEVICES.glob("video[0-9]*"))
    return list(range(PROBED))


def camera_name(number: int) -> str:
    try:
        return (NAMES / f"video{number}" / "name").read_text().strip()
    except OSError:
        return f"camera {number}"


def note_if_virtual(number: int) -> str:
    """Returns a note if a camera is some program's output, or nothing."""
    is_virtual = (VIRTUAL / f"video{number}").exists()
    return " (a virtual camera, some program's output)" if is_virtual else ""


def note_on_origin(camera: pipewire.PipeWireCamera) -> str:
    if camera.program is None:
        return f"; to use it: pw-v4l2 {COMMAND}"
    ours = camera.name == node_name(NAME)
    origin = "this program" if ours else camera.program
    found = NO_PORTAL if pipewire.has_portal() is False else SETTINGS
    return f" (the output of {origin}); {found}"


def camera_modes(number: int, open: OpenCamera) -> list[str]:
    """Lists the modes of a camera, such as "1280x720 at 30"; none if there is no such camera."""
    with suppress_stderr():
        capture = open(number)
        try:
            if not capture.isOpened():
                return []
            return list(dict.fromkeys(camera_mode(capture, size) for size in MODES))
        finally:
            capture.release()


def camera_mode(capture: cv2.VideoCapture, size: Size) -> str:
    request_size(capture, size)
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    return f"{width:.0f}x{height:.0f} at {capture.get(cv2.CAP_PROP_FPS):.0f}"


def check(options: Options, open_pipeline: Callable[[], Pipeline]) -> int:
    """Runs the checks with these options, a line each; returns 1 if something needs fixing.

    `open_pipeline` makes the `BackgroundBlur` for these options. The display is optional, and so
    is a virtual camera that was not asked for. A "note" needs no fixing.
    """
    missing = "missing (optional)"
    checks = {
        "source": (source, "fix"),
        "display": (display, missing),
        "virtual camera": (virtual_camera, missing if options.virtual_camera is None else "fix"),
        "weights and speed": (partial(speed, open_pipeline=open_pipeline), "fix"),
        "recordings": (recordings, "note"),
    }
    code = 0
    for name, (test, otherwise) in checks.items():
        try:
            print(f"ok    {name}: {test(options)}", flush=True)
        except UserError as error:
            print(f"{otherwise:<5} {name}: {error}", flush=True)
            code = 1 if otherwise == "fix" else code
    return code


def source(options: Options) -> str:
    with open_source(options.source, options.size, options.fps) as opened:
        if all(is_black(frame.image) for frame in islice(opened, TESTED_FRAMES)):
            raise UserError(BLACK)
        if opened.warning:
            raise UserError(f"{opened.warning}; the picture is fitted")
        return "{}x{}, {:g} frames/s".format(*opened.size, opened.fps)


def display(options: Options) -> str:
    check_display()
    return "available"


def virtual_camera(options: Options) -> str:
    size, fps = options.size or CAMERA_SIZE, options.fps or 30
    with VirtualCamera(options.virtual_camera, size, fps) as camera:
        text = f"{camera.device} accepts {camera.size[0]}x{camera.size[1]}"
        is_pipewire = isinstance(camera.backend, PipeWireSink)
    if not is_pipewire:
        return text
    if pipewire.has_portal() is False:
        raise UserError(f"{text}, but {NO_PORTAL}")
    return f"{text}; {SETTINGS}"


def speed(options: Options, open_pipeline: Callable[[], Pipeline]) -> str:
    """Times the pipeline on the demo."""
    blur = open_pipeline()
    size = options.size or CAMERA_SIZE
    with open_source("demo", size) as demo:
        demo.unpace()
        first, *images = [frame.image for frame in islice(demo, TESTED_FRAMES + 1)]
    blur(first)  # the first frame takes longer
    began = perf_counter()
    for image in images:
        blur(image)
    rate = len(images) / (perf_counter() - began)
    on = plural(options.threads, "thread")
    text = f"{rate:.0f} frames/s at {size[0]}x{size[1]} on {on}"
    if rate < MIN_FPS:
        raise UserError(f"only {text}; close other programs, or give a smaller --size")
    return text


def recordings(options: Options) -> str:
    folder = folder_of(options.output)
    if lines := leftovers(folder, ENCODERS):
        raise UserError("; ".join(lines))
    return "no interrupted ones " + ("here" if folder == Path() else f"in {folder}")

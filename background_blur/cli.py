"""The command line."""

import argparse
import os
import re
from pathlib import Path

from background_blur import __version__
from background_blur.keys import KEYS

SMALLEST, LARGEST = 16, 7680  # pixels a side
EPILOG = """\
examples:
  python main.py                                     your webcam, in a window
  python main.py --source demo                       no camera here
  python main.py --source call.mp4 --output out.mp4  a recording, sound and all
  python main.py --source photos/ --output blurred/  a folder of pictures
  python main.py --background beach.jpg              another background
  python main.py --virtual-camera                    into a call

keys in the window:
{keys}

exit codes: 0 done, 1 it failed, 2 wrong usage, 130 Ctrl-C."""


EPILOG = EPILOG.format(keys="\n".join(f"  {key:<7} {what}" for key, what in KEYS.items()))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="main.py",
        description="Keeps the person sharp and blurs everything behind, in real time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    add(
        "--source",
        default="0",
        metavar="WHAT",
        help="camera number (default 0), video or image file, folder of images, stream URL, or "
        "'demo', a moving portrait",
    )
    add("--output", metavar="PATH", help="video, image or folder to write")
    add("--force", action="store_true", help="overwrite what exists")
    add(
        "--view",
        choices=("result", "alpha", "split"),
        default="result",
        help="the picture (default), the grey alpha, or original and result side by side",
    )
    add(
        "--virtual-camera",
        nargs="?",
        const="",
        metavar="DEVICE",
        help="send to a virtual camera too, for calls: the first free one, or this one; 'pipewire' "
        "(or 'pipewire:NAME') makes one that needs no driver",
    )
    add(
        "--no-window",
        dest="window",
        action="store_false",
        help="open no window; without --output too: run the line and print its figures",
    )
    add(
        "--size",
        type=size,
        metavar="WxH",
        help="size to ask the camera for (default 1280x720); files are scaled and cropped to it",
    )
    add(
        "--fps",
        type=rate,
        help="frames a second to ask the camera for (default 30); files are thinned to it",
    )
    add(
        "--wait",
        type=seconds,
        default=10,
        metavar="SECONDS",
        help="how long to wait for a camera that went away (default 10)",
    )
    add(
        "--people",
        choices=("front", "main", "all"),
        default="front",
        help="who stays sharp: all but those who pass small behind (default), the largest and "
        "most central person alone, or everybody",
    )
    add("--mirror", action="store_true", help="flip left and right, as a mirror does")
    add(
        "--strength",
        type=share,
        default=0.5,
        metavar="0..1",
        help="of the blur (default 0.5); at 1 its sigma is 8 %% of the frame's height",
    )
    add(
        "--background",
        type=background,
        action="append",
        metavar="WHAT",
        help="blur (default), a picture, a video (looped), #rrggbb, or transparent (into PNGs "
        "only); several times: for the b key to choose from",
    )
    add("--weights", type=Path, metavar="PATH", help="other weights of the person network")
    add(
        "--engine",
        choices=("litert", "keras"),
        default="litert",
        help="litert: compiled, fast, light (default); keras: the original, through TensorFlow",
    )
    add("--threads", type=threads, default=2, metavar="N", help="processor threads (default 2)")
    add("--list-cameras", action="store_true", help="print the cameras that are here, and end")
    add("--check", action="store_true", help="look for what could go wrong, say so, and end")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return p


def size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as 1280x720")
    sides = int(width), int(height)
    if not all(SMALLEST <= side <= LARGEST for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r}: each side from {SMALLEST} to {LARGEST} pixels")
    return sides


def background(text: str) -> str:
    if text.startswith("#") and not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: write colours as red, green, blue: #00b140")
    return text


def share(text: str) -> float:
    return number(text, float, 0, 1)


def rate(text: str) -> float:
    return number(text, float, 1, 240)


def seconds(text: str) -> float:
    return number(text, float, 0, 86400)


def threads(text: str) -> int:
    return number(text, int, 1, 64)


def number(text: str, kind, least, most):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from {least} to {most}")
    return value


def keeps_transparency(output: str | None) -> bool:
    if not output:
        return False
    path = Path(output)
    return path.suffix.lower() in ("", ".png") or path.is_dir() or output.endswith(("/", os.sep))

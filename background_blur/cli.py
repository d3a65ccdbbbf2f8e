"""The command line."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from background_blur import __version__
from background_blur.errors import UserError
from background_blur.keys import KEYS
from background_blur.options import Options, People, View
from background_blur.paths import is_folder
from background_blur.presets import default_file, expand, read
from background_blur.remote import COMMANDS
from background_blur.system import COMMAND, PROGRAM

TRANSPARENT_SUFFIXES = (".png", ".mov", ".webm")  # of files that can hold transparency
SMALLEST, LARGEST = 16, 7680  # pixels per side
log = logging.getLogger("background_blur")
Number = TypeVar("Number", int, float)
DEFAULTS = "~/.config/background-blur/default.txt"


def table(rows: Mapping[str, str]) -> str:
    """Formats rows as two columns."""
    width = max(map(len, rows))
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows.items())


EXAMPLES = {
    "": "your webcam, in a window",
    "--source demo": "try it without a camera",
    "--source call.mp4 --output out.mp4": "a recording, with its sound",
    "--source photos/ --output blurred/": "a folder of pictures",
    "--background beach.jpg": "another background",
    "--follow": "the camera follows you",
    "--virtual-camera": "for video calls",
    "@call.txt": "options from a file, one per line",
}
EPILOG = f"""\
examples:
{table({f"{COMMAND} {options}": what for options, what in EXAMPLES.items()})}

keys in the window:
{table(KEYS)}

signals: SIGUSR1 hides everything or shows you again, SIGUSR2 moves to the next background;
--send does the same from a script or a desktop shortcut.

exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""


class Parser(argparse.ArgumentParser):
    """Reports errors on one line, without the usage, which --help shows."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}{self.suggestion(message)}\n")

    def suggestion(self, message: str) -> str:
        """Suggests the closest flag, to append to a message about a mistyped one, or nothing."""
        from difflib import get_close_matches

        wrong = re.match(r"unrecognized arguments: (-[\w-]+)", message)
        near = get_close_matches(wrong[1], self._option_string_actions, 1) if wrong else []
        return f"; did you mean {near[0]}?" if near else ""


def parser(kind: type[Parser] = Parser) -> argparse.ArgumentParser:
    p = kind(
        prog=PROGRAM,
        description="Keeps the person sharp and blurs everything behind them, in real time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    switch = partial(add, action="store_true")
    add(
        "--source",
        default="0",
        metavar="WHAT",
        help="camera number (default 0), video or image file, folder of images, stream URL, or "
        "'demo', a moving portrait",
    )
    add("--output", metavar="PATH", help="video, image or folder to write")
    existing = p.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="overwrite existing files")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="keep existing files and do the rest, to continue an interrupted folder",
    )
    add(
        "--view",
        choices=get_args(View),
        default="result",
        help="the picture (default), the grey alpha, or original and result side by side",
    )
    add(
        "--virtual-camera",
        nargs="?",
        const="",
        metavar="DEVICE",
        help="also send to a virtual camera, for calls: DEVICE, or the first free one; "
        "'pipewire' (or 'pipewire:NAME') creates one that needs no driver",
    )
    add(
        "--no-window",
        dest="window",
        action="store_false",
        help="do not open a window; with no output either, process frames and print timings",
    )
    add(
        "--size",
        type=size,
        metavar="WxH",
        help="size to request from the camera (default 1280x720); files are scaled and cropped "
        "to it",
    )
    add(
        "--fps",
        type=number(float, 1, 240),
        help="frame rate to request from the camera (default 30); faster videos are reduced to it",
    )
    add(
        "--wait",
        type=number(float, 0, 86400),
        default=10,
        metavar="SECONDS",
        help="how long to wait for a camera that stopped (default 10)",
    )
    add(
        "--people",
        choices=get_args(People),
        default="front",
        help="who stays sharp: front, everyone but small figures in the background (default); "
        "main, the largest, most central person; or all",
    )
    add(
        "--quality",
        choices=("normal", "best"),
        default="normal",
        help="how often the network runs on live video: normal, on every second frame, while masks "
        "follow the motion in between if they can (default); best, on every frame, as for files",
    )
    switch("--mirror", help="flip left and right")
    add(
        "--strength",
        type=number(float, 0, 1),
        default=0.5,
        metavar="0..1",
        help="how much to blur (default 0.5); at 1 the sigma is 8 %% of the frame's height",
    )
    add(
        "--background",
        type=background,
        action="append",
        metavar="WHAT",
        help="blur (default), a picture, a video (looped), #rrggbb, or transparent (into .png, "
        ".mov, .webm or a folder); repeat it to choose with the b key",
    )
    switch(
        "--follow",
        help="keep your head and shoulders in the picture, zooming in at most 2x",
    )
    switch("--hidden", help="start with everything hidden, as if you had pressed space")
    add("--weights", type=Path, metavar="PATH", help="other weights for the person network")
    add(
        "--engine",
        choices=("litert", "keras"),
        default="litert",
        help="litert: compiled, fast, light (default); keras: the original, through TensorFlow",
    )
    add(
        "--threads",
        type=number(int, 1, 64),
        default=1,  # the rest of the work on a recording keeps a second core busy
        metavar="N",
        help="processor threads (default 1)",
    )
    add(
        "--send",
        choices=COMMANDS,
        help="control the program that is already running, print its status as JSON, and exit",
    )
    switch("--list-cameras", help="list the cameras and exit")
    switch("--check", help="test this computer, say how to fix what fails, and exit")
    switch("--verbose", help="log details and tracebacks")
    switch("--no-config", help=f"ignore {DEFAULTS}")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return p


class LineParser(Parser):
    """Reports errors as a ValueError."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message + self.suggestion(message))


def parse(argv: list[str] | None = None) -> Options:
    """Parses and checks the options. Exits with 2 if they are wrong, as argparse does."""
    try:
        args = collect(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        parser().error(str(error))
    args.background = tuple(args.background or ["blur"])
    if "transparent" in args.background:
        if not keeps_transparency(args.output):
            what = f"{args.output} holds no transparency" if args.output else "needs an --output"
            known = ", ".join(TRANSPARENT_SUFFIXES)
            parser().error(f"--background transparent: {what}; give {known} or a folder")
        if args.virtual_camera is not None:
            parser().error("--background transparent: a --virtual-camera holds no transparency")
    if args.skip_existing and not args.output:
        parser().error("--skip-existing needs an --output")
    return Options(**vars(args))


def collect(argv: list[str]) -> argparse.Namespace:
    """Collects the options from the command line, files it names and the file of defaults.

    The command line overrides the defaults. Raises UserError.
    """
    check = parser(LineParser).parse_args
    words = expand(argv, check)
    args = parser().parse_args(words)
    path = default_file()
    if args.no_config or not os.path.isfile(path):  # also false in a folder we may not read
        return args
    backgrounds, defaults = args.background, read(path, check)
    args = parser().parse_args([*defaults, *words])
    args.background = backgrounds or args.background  # replaces those in the defaults
    return args


class OneLineFormatter(logging.Formatter):
    """Keeps a message on one line, even if a path in it contains line breaks.

    A traceback follows only with --verbose.
    """

    def formatException(self, ei: Any) -> str:
        return super().formatException(ei) if log.isEnabledFor(logging.DEBUG) else ""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return " ".join(super().formatMessage(record).splitlines())


def set_up_logging(verbose: bool) -> None:
    """Sends messages to stderr, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter(f"{PROGRAM}: %(message)s"))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.DEBUG if verbose else logging.INFO)


def size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as 1280x720")
    sides = int(width), int(height)
    if not all(SMALLEST <= side <= LARGEST for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r}: give {SMALLEST} to {LARGEST} pixels per side")
    return sides


def background(text: str) -> str:
    if text.startswith("#") and not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: write colours as #rrggbb, such as #00b140")
    return text


def number(kind: type[Number], least: Number, most: Number) -> Callable[[str], Number]:
    """Makes an argparse type for numbers within these bounds."""

    def parse_number(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: give a number from {least} to {most}")
        return value

    return parse_number


def keeps_transparency(output: str | None) -> bool:
    return bool(output) and (
        is_folder(output) or Path(output).suffix.lower() in TRANSPARENT_SUFFIXES
    )

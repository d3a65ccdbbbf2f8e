"""Blurs what is behind you, live: `python main.py`."""

import argparse
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from keys import KEYS

__version__ = "0.1.0"

TITLE = "background blur"
SMALLEST, LARGEST = 16, 7680  # pixels a side

EPILOG = """\
examples:
  python main.py                                     your webcam, in a window
  python main.py --source demo                       no camera here
  python main.py --source call.mp4 --output out.mp4  a recording, sound and all
  python main.py --source photos/ --output blurred/  a folder of pictures
  python main.py --background beach.jpg              another background

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


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.background = args.background or ["blur"]
    if "transparent" in args.background and not keeps_transparency(args.output):
        parser().error("--background transparent needs an --output that is a .png or a folder")
    try:
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), interrupt)
        return run(args)
    except KeyboardInterrupt as stop:
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)


def keeps_transparency(output: str | None) -> bool:
    return bool(output) and (Path(output).suffix.lower() in ("", ".png") or Path(output).is_dir())


def interrupt(number: int, _frame) -> None:
    """Ends the run as Ctrl-C does: files are finished, the camera released."""
    raise KeyboardInterrupt(number)


def run(args: argparse.Namespace) -> int:
    # Read by OpenCV when it is imported: a picture that would take gigabytes is refused.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))
    import cv2

    from backdrop import BackdropError, open_background
    from segment import WeightsError, open_segmenter
    from sink import SinkError
    from source import SourceError, open_source

    cv2.setNumThreads(args.threads)
    try:
        with ExitStack() as stack:
            backgrounds = {text: open_background(text) for text in args.background}
            source = open_source(args.source, args.size, args.fps, wait=args.wait)
            stack.enter_context(source)
            window, output = open_sinks(args, source, stack)
            if args.source == "demo" and not window:
                source.live = False  # as fast as it goes
            segmenter = open_segmenter(args.engine, args.weights, args.threads)
            stream(args, source, segmenter, window, output, backgrounds)
    except (BackdropError, SourceError, SinkError, WeightsError) as error:
        print("main.py:", *str(error).splitlines(), file=sys.stderr)  # a path may hold newlines
        return 1
    return 0


def open_sinks(args: argparse.Namespace, source, stack: ExitStack):
    """Returns (window or None, output or None), both closed by `stack`."""
    from sink import SinkError, Window, open_output

    output = window = None
    if args.output:
        output = stack.enter_context(open_output(args.output, source, args.force))
    if args.window:
        try:
            window = stack.enter_context(Window(TITLE))
        except SinkError:
            if not output:
                raise
    return window, output


def stream(args: argparse.Namespace, source, segmenter, window, output, backgrounds) -> None:
    """Runs the line until the source ends or the user stops it."""
    from imutils.video import FPS

    from line import Line, Settings
    from viewer import Viewer

    settings = Settings(args.view, args.strength, args.mirror)
    settings.background = backgrounds[args.background[0]]
    line = Line(segmenter, settings, source.independent)
    viewer = Viewer(window, line, source, not output, backgrounds) if window else None
    meter = FPS().start()
    try:
        for frame in progress(source, output):
            done = line.finish(frame)
            if output:
                output.write(done)
            meter.update()
            if viewer and not viewer.show(frame, done):
                break
    finally:
        meter.stop()
        report(line, meter, source, output)


def progress(source, output):
    """The source's frames, with a bar at a terminal while a file is written."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own
    disable = None if output and not source.live else True  # None: unless stderr is a terminal
    return tqdm(watched(source), total=source.count, unit=" frames", disable=disable, leave=False)


def watched(source):
    """The source's frames; says on stderr what is wrong with it, once each time."""
    told = None
    for frame in source:
        if source.trouble and source.trouble != told:
            print(f"main.py: {source.trouble}", file=sys.stderr)
        told = source.trouble
        yield frame


def report(line, meter, source, output) -> None:
    """Prints the run's figures, and on stderr what the user should know of."""
    frames = meter._numFrames
    if frames:
        stages = ", ".join(f"{k} {1000 * v / frames:.1f}" for k, v in line.seconds.items())
        print(f"{frames} frames, {meter.fps():.1f} frames/s; ms a frame: {stages}")
    if line.hidden_frames:
        print(f"main.py: {line.hidden_frames} frames left wholly blurred", file=sys.stderr)
    for warning in (source.warning, output and output.warning):
        if warning:
            print(f"main.py: {warning}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

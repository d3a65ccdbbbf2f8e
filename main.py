"""Blurs what is behind you, live: `python main.py`."""

import argparse
import os
import re
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

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
        help="send to a virtual camera too, for calls: the first free one, or this one",
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


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.background = args.background or ["blur"]
    if "transparent" in args.background:
        if not keeps_transparency(args.output):
            parser().error("--background transparent needs an --output that is a .png or a folder")
        if args.virtual_camera is not None:
            parser().error("--background transparent: no --virtual-camera shows it")
    try:
        asked_to_stop.clear()
        busy.clear()
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), interrupt)
        return run(args)
    except KeyboardInterrupt as stop:
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except OSError as error:  # most likely stdout: full, or read by nobody any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for Python's own flush at its end
        hint = "see where the output is piped to, and whether the disk is full"
        print(f"main.py: {error.strerror or error}; {hint}", file=sys.stderr)
        return 1


def keeps_transparency(output: str | None) -> bool:
    if not output:
        return False
    path = Path(output)
    return path.suffix.lower() in ("", ".png") or path.is_dir() or output.endswith(("/", os.sep))


asked_to_stop = []  # the signals that came
busy = []  # not empty while files are written and finished, which a signal must not disturb
ENOUGH = 4  # signals, after which it may


def interrupt(number: int, _frame) -> None:
    """Ends the run as Ctrl-C does: files are finished, the camera released.

    An exception raised while a library calls back into Python may get lost in there; so the signal
    is also noted, and looked for after every frame.
    """
    asked_to_stop.append(number)
    if not busy or len(asked_to_stop) >= ENOUGH:
        raise KeyboardInterrupt(number)


def run(args: argparse.Namespace) -> int:
    # Read by OpenCV when it is imported: a picture that would take gigabytes is refused.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))
    import cv2

    from backdrop import BackdropError, open_background
    from idle import OnDemand
    from segment import WeightsError
    from sink import SinkError
    from source import SourceError, open_source
    from viewer import Viewer

    cv2.setNumThreads(args.threads)
    if args.list_cameras or args.check:
        import check

        return check.list_cameras() if args.list_cameras else check.check(args)
    try:
        with ExitStack() as stack:
            backgrounds = {text: open_background(text) for text in args.background}
            reopen = partial(open_source, args.source, args.size, args.fps, wait=args.wait)
            source = stack.enter_context(reopen())
            sinks = open_sinks(args, source, stack)
            if sinks.camera and source.live and not (sinks.window or sinks.output):
                source = OnDemand(source, reopen, sinks.camera, args.wait)
                stack.callback(source.close)
            if args.source == "demo" and not (sinks.window or sinks.camera):
                source.live = False  # as fast as it goes
            line = open_line(args, source, backgrounds[args.background[0]])
            viewer = None
            if sinks.window:
                wait = not sinks.output
                viewer = Viewer(sinks.window, line, source, wait, backgrounds, sinks.camera)
            stack.callback(busy.append, "closing")  # the first of what is done at the end
            stream(source, line, sinks, viewer)
    except (BackdropError, SourceError, SinkError, WeightsError) as error:
        print("main.py:", *str(error).splitlines(), file=sys.stderr)  # a path may hold newlines
        return 1
    return 0


def open_line(args: argparse.Namespace, source, background):
    """The line for the source's frames; raises WeightsError."""
    from beat import Beat
    from line import Line, Settings
    from segment import open_segmenter

    settings = Settings(
        view=args.view,
        strength=args.strength,
        mirror=args.mirror,
        people=args.people,
        background=background,
    )
    segmenter = open_segmenter(args.engine, args.weights, args.threads)
    look = segmenter.thorough if source.independent else segmenter
    beat = Beat(source.fps) if source.live else None
    return Line(look, settings, source.independent, beat)


@dataclass
class Sinks:
    """Where the finished frames go: a sink each, or None."""

    output: object = None
    camera: object = None
    window: object = None


def open_sinks(args: argparse.Namespace, source, stack: ExitStack) -> Sinks:
    """Opens them; `stack` closes them."""
    from sink import SinkError, open_output, same_file
    from virtual import VirtualCamera
    from window import Window

    sinks = Sinks()
    if args.output:
        if any(same_file(Path(args.output), Path(text)) for text in args.background):
            raise SinkError(f"{args.output}: is the background itself; give another --output")
        sinks.output = stack.enter_context(open_output(args.output, source, args.force))
    if args.virtual_camera is not None:
        camera = VirtualCamera(
            args.virtual_camera,
            args.size or source.size,
            args.fps or source.fps,
            paced=not (source.live or source.independent),
        )
        sinks.camera = stack.enter_context(camera)
        print("sending {}x{} to {}".format(*camera.size, camera.device), flush=True)
    if args.window:
        try:
            window = Window(TITLE, lost=lambda: end_without_display(stack))
            sinks.window = stack.enter_context(window)
        except SinkError:
            if not (sinks.output or sinks.camera):
                raise
    return sinks


def end_without_display(stack: ExitStack) -> None:
    """Closes all that is open, where Qt is about to end the process."""
    then = "what was written is kept"
    try:
        stack.close()
    except Exception as error:
        then = str(error)
    print(f"main.py: the display is gone; {then}", file=sys.stderr, flush=True)
    os._exit(1)


def stream(source, line, sinks: Sinks, viewer) -> None:
    """Runs the line until the source ends or the user stops it."""
    start, count = monotonic(), 0
    try:
        for frame in progress(source, sinks.output):
            began = monotonic()
            done = line.finish(frame)
            busy.append("writing")
            for sink in (sinks.output, sinks.camera):
                if sink:
                    sink.write(done)
            busy.clear()
            count += 1
            if asked_to_stop:
                raise KeyboardInterrupt(asked_to_stop[0])
            if viewer and not viewer.show(frame, done):
                break
            if line.beat:
                line.beat.count(began, monotonic())
            while sinks.camera and source.independent and not (viewer or sinks.output):
                sinks.camera.repeat()  # a picture stays until Ctrl-C
                sleep(0.005)
    finally:
        report(line, count, monotonic() - start - source.rested, source, sinks.output)


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


def report(line, frames: int, seconds: float, source, output) -> None:
    """Prints the run's figures, and on stderr what the user should know of."""
    if frames:
        # Pictures may wait for their user.
        rate = "" if source.independent else f", {frames / seconds:.1f} frames/s"
        stages = ", ".join(f"{k} {1000 * v / frames:.1f}" for k, v in line.seconds.items())
        print(f"{counted(frames)}{rate}; ms a frame: {stages}")
    if frames and line.beat:
        print(saved(line, source))
    if line.hidden_frames:
        print(f"main.py: {counted(line.hidden_frames)} left wholly blurred", file=sys.stderr)
    for warning in (source.warning, output and output.warning):
        if warning:
            print(f"main.py: {warning}", file=sys.stderr)


def counted(frames: int) -> str:
    return "1 frame" if frames == 1 else f"{frames} frames"


def saved(line, source) -> str:
    """What a live run left out, lest it came late."""
    steps = ", ".join(f"{step} {count}" for step, count in sorted(line.beat.frames.items()))
    carrier = line.carrier
    return (
        f"dropped {source.dropped}, masks carried {carrier.carried}, resting {carrier.rested}; "
        f"frames at step {steps}"
    )


def open_missing() -> None:
    """Opens to nowhere what it was started without of stdin, stdout and stderr, as services are.

    Else libraries would print into the file that is opened next: the output, perhaps.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


if __name__ == "__main__":
    open_missing()
    sys.exit(main())

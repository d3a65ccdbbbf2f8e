"""Blurs what is behind you, live: `python main.py`."""

import argparse
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from background_blur.cli import keeps_transparency, parse, parser
from background_blur.signals import RemoteControl
from background_blur.system import open_missing

TITLE = "background blur"


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
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
        remote = RemoteControl()
        remote.listen()
        return run(args, remote)
    except KeyboardInterrupt as stop:
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except OSError as error:  # most likely stdout: full, or read by nobody any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for Python's own flush at its end
        hint = "see where the output is piped to, and whether the disk is full"
        print(f"main.py: {error.strerror or error}; {hint}", file=sys.stderr)
        return 1


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


def run(args: argparse.Namespace, remote: RemoteControl) -> int:
    # Read by OpenCV when it is imported: a picture that would take gigabytes is refused.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))
    import cv2

    from background_blur.capture import open_file, open_source
    from background_blur.capture.on_demand import OnDemand
    from background_blur.controls import Viewer
    from background_blur.errors import BackgroundError, SinkError, SourceError, WeightsError
    from background_blur.rendering.backgrounds import open_background

    cv2.setNumThreads(args.threads)
    if args.list_cameras or args.check:
        from background_blur import diagnostics

        if args.list_cameras:
            return diagnostics.list_cameras()
        return diagnostics.check(args, lambda: open_line(args))
    try:
        with ExitStack() as stack:
            backgrounds = {text: open_background(text, open_file) for text in args.background}
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
            obey = partial(remote.apply, line.settings, backgrounds)
            stream(source, line, sinks, viewer, obey)
    except (BackgroundError, SourceError, SinkError, WeightsError) as error:
        print("main.py:", *str(error).splitlines(), file=sys.stderr)  # a path may hold newlines
        return 1
    return 0


def open_line(args: argparse.Namespace, source=None, background=None):
    """The line for the source's frames, or for single ones; raises WeightsError."""
    from background_blur.matting.engines import open_segmenter
    from background_blur.matting.quality import QualityController
    from background_blur.settings import Settings
    from blur import BackgroundBlur

    settings = Settings(
        view=args.view,
        strength=args.strength,
        mirror=args.mirror,
        people=args.people,
        background=background,
        hide=args.hidden,
    )
    segmenter = open_segmenter(args.engine, args.weights, args.threads, build_network)
    if source is None:
        return BackgroundBlur(segmenter, settings)
    look = segmenter.thorough if source.independent else segmenter
    beat = QualityController(source.fps) if source.live else None
    return BackgroundBlur(look, settings, source.independent, beat)


def build_network():
    """The Keras network, without weights."""
    import model

    return model.build("person")


@dataclass
class Sinks:
    """Where the finished frames go: a sink each, or None."""

    output: object = None
    camera: object = None
    window: object = None


def open_sinks(args: argparse.Namespace, source, stack: ExitStack) -> Sinks:
    """Opens them; `stack` closes them."""
    from background_blur.errors import SinkError
    from background_blur.sinks import open_output
    from background_blur.sinks.files import same_file
    from background_blur.sinks.virtual_camera import VirtualCamera
    from background_blur.sinks.window import Window

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


def stream(source, line, sinks: Sinks, viewer, obey) -> None:
    """Runs the line until the source ends or the user stops it.

    `obey` does what signals ask for, and returns what that was.
    """
    start, count = monotonic(), 0
    try:
        for frame in progress(source, sinks.output):
            began = monotonic()
            tell(obey())
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
                if done_now := obey():  # a picture stays until Ctrl-C
                    tell(done_now)
                    sinks.camera.write(line.finish(frame))
                sinks.camera.repeat()
                sleep(0.005)
    finally:
        report(line, count, monotonic() - start - source.rested, source, sinks.output)


def tell(notes: list[str]) -> None:
    for note in notes:
        print(f"main.py: {note}", file=sys.stderr)


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


if __name__ == "__main__":
    open_missing()
    sys.exit(main())

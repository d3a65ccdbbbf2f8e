"""Blurs the background behind you, live: `python main.py`."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from background_blur import cli
from background_blur.errors import SinkError, UserError
from background_blur.requirements import require_packages
from background_blur.signals import RemoteControl
from background_blur.system import SignalGuard, open_missing, unbreakable_printing

if TYPE_CHECKING:  # imported late: they take their time, which --help has not
    import keras

    from background_blur.capture.base import Source
    from background_blur.controls import Viewer
    from background_blur.frames import Frame
    from background_blur.matting.quality import QualityController
    from background_blur.settings import Background, Settings
    from background_blur.sinks.base import Sink
    from background_blur.sinks.virtual_camera import VirtualCamera
    from background_blur.sinks.window import Window
    from background_blur.statistics import RunStatistics
    from blur import BackgroundBlur

TITLE = "background blur"

log = logging.getLogger("background_blur")


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    with unbreakable_printing() as out:
        args = cli.parse(argv)
        cli.set_up_logging(args.verbose)
        code = run_to_exit_code(args)
        out.flush()
        if out.error:
            hint = "see where the output is piped to, and whether the disk is full"
            log.error(f"cannot print: {getattr(out.error, 'strerror', None) or out.error}; {hint}")
    return code or (1 if out.error else 0)


def run_to_exit_code(args: argparse.Namespace) -> int:
    guard, remote = SignalGuard(), RemoteControl()
    try:
        require_packages()
        guard.install()
        remote.install()
        return run(args, guard, remote)
    except KeyboardInterrupt as stop:
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except UserError as error:
        for line in error.lines:
            log.error(line)
    except OSError as error:
        log.error(str(error))
    finally:
        guard.ignore_from_now_on()
    return 1


def run(args: argparse.Namespace, guard: SignalGuard, remote: RemoteControl) -> int:
    """Opens everything, and moves frames from the source to the sinks until the source ends.

    Raises:
        UserError: something cannot be opened, read or written.
        KeyboardInterrupt: a signal came.
    """
    # Read by OpenCV when it is imported: a picture that would take gigabytes is refused.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))
    import cv2

    cv2.setNumThreads(args.threads)
    if args.list_cameras or args.check:
        from background_blur import diagnostics

        if args.list_cameras:
            return diagnostics.list_cameras()
        return diagnostics.check(args, lambda: open_pipeline(args))
    if args.skip_existing and os.path.isfile(args.output):
        print(f"{args.output}: exists; skipped")
        return 0

    from background_blur.capture import open_file, open_source
    from background_blur.matting.quality import QualityController
    from background_blur.rendering.backgrounds import open_background
    from background_blur.statistics import RunStatistics

    with ExitStack() as afterwards, ExitStack() as stack:
        backgrounds = {text: open_background(text, open_file) for text in args.background}
        reopen = partial(open_source, args.source, args.size, args.fps, wait=args.wait)
        source = stack.enter_context(reopen())
        sinks = open_sinks(args, source, stack)
        source = adapt(source, sinks, reopen, args.wait)
        stack.callback(source.close)
        blur = open_pipeline(args, source.is_sequence, backgrounds[args.background[0]])
        viewer = sinks.viewer(source, blur.settings, backgrounds)
        quality = None
        if source.live and source.is_sequence:
            quality = QualityController(source.fps, best=args.quality == "best")
        statistics = RunStatistics()
        afterwards.callback(report, statistics, source, sinks.output)
        if sinks.output:
            stack.push(sinks.output)  # completed before anything else, which might hang, ends
        stack.callback(guard.shield_from_now_on)  # the first of what is done at the end
        obey = partial(remote.apply, blur.settings, backgrounds)
        stream(source, blur, sinks, viewer, quality, statistics, guard, obey)
    return 0


def open_pipeline(
    args: argparse.Namespace, is_sequence: bool = True, background: Any = None
) -> "BackgroundBlur":
    """What finishes the frames, as the user wishes. Raises WeightsError."""
    from background_blur.matting.engines import open_segmenter
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
    segmenter = open_segmenter(args.engine, args.weights, args.threads, load_network)
    segment = segmenter if is_sequence else segmenter.predict_tta
    return BackgroundBlur(segment, settings, is_sequence)


def load_network(path: Path) -> "keras.Model":
    """The Keras network with the weights of a file."""
    import model

    return model.load_person(path)[0]


@dataclass
class Sinks:
    """Where the finished frames go."""

    output: "Sink | None" = None
    camera: "VirtualCamera | None" = None
    window: "Window | None" = None

    @property
    def are_watched(self) -> bool:
        return bool(self.window or self.camera)

    def viewer(
        self,
        source: "Source",
        settings: "Settings",
        backgrounds: "Mapping[str, Background | str | None]",
    ) -> "Viewer | None":
        """What shows the frames and obeys keys, if there is a window."""
        from background_blur.controls import Viewer

        if not self.window:
            return None
        paced = not (source.live or self.output)
        return Viewer(self.window, settings, source, paced, backgrounds, bool(self.camera))


def open_sinks(args: argparse.Namespace, source: "Source", stack: ExitStack) -> Sinks:
    """Opens them; `stack` closes them. Raises SinkError."""
    from background_blur.sinks.virtual_camera import VirtualCamera
    from background_blur.sinks.window import Window

    sinks = Sinks()
    if args.output is not None:
        sinks.output = stack.enter_context(open_file_output(args, source))
    if args.virtual_camera is not None:
        size, fps = args.size or source.size, args.fps or source.fps
        paced = source.is_sequence and not source.live
        camera = VirtualCamera(args.virtual_camera, size, fps, paced)
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


def open_file_output(args: argparse.Namespace, source: "Source") -> "Sink":
    """The file or folder to write, and what to know of those that lie beside it."""
    from background_blur.sinks import open_output
    from background_blur.sinks.files import same_file
    from background_blur.sinks.parts import folder_of, leftovers
    from background_blur.sinks.video import ENCODERS

    if any(same_file(Path(args.output), Path(text)) for text in args.background):
        raise SinkError(f"{args.output}: is the background itself; give another --output")
    output = open_output(args.output, source, args.force, args.skip_existing)
    as_png = args.background[0] == "transparent"
    source.leave_out(lambda name: output.is_unwanted(name.with_suffix(".png") if as_png else name))
    for line in leftovers(folder_of(args.output), ENCODERS):
        log.warning(line)
    return output


def end_without_display(stack: ExitStack) -> None:
    """Closes everything that is open when Qt is about to end the process."""
    then = "what was written is kept"
    try:
        stack.close()
    except Exception as error:
        then = str(error)
    log.error(f"the display is gone; {then}")
    os._exit(1)


def adapt(source: "Source", sinks: Sinks, reopen: "Callable[[], Source]", wait: float) -> "Source":
    """The source, paced as whoever watches needs it."""
    from background_blur.capture.held import HeldPictures
    from background_blur.capture.on_demand import OnDemand

    if not sinks.are_watched:
        source.unpace()
    elif sinks.output:
        return source
    elif not source.is_sequence:
        return HeldPictures(source)
    elif sinks.camera and source.live and not sinks.window:
        return OnDemand(source, reopen, sinks.camera, wait)
    return source


def stream(
    source: "Source",
    blur: "BackgroundBlur",
    sinks: Sinks,
    viewer: "Viewer | None",
    quality: "QualityController | None",
    statistics: "RunStatistics",
    guard: SignalGuard,
    obey: Callable[[], list[str]],
) -> None:
    """The loop: runs until the source ends or the user stops it.

    `obey` does what SIGUSR1 and SIGUSR2 asked for, and says what.
    """
    for frame in progress(source, sinks.output):
        began = monotonic()
        for note in obey():
            log.info(note)
        level = quality.level if quality else None
        result = blur(frame, level)
        with guard.shielded():
            for sink in filter(None, (sinks.output, sinks.camera)):
                sink.write(result)
        statistics.record(result, level)
        guard.check()
        if viewer and not viewer.show(result, level):
            break
        if quality:
            quality.record(began, monotonic())


def progress(source: "Source", output: "Sink | None") -> Iterator["Frame"]:
    """The source's frames, with a bar at a terminal while a file is written."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own
    disable = None if output and not source.live else True  # None: unless stderr is a terminal
    frames = report_problems(source)
    return iter(tqdm(frames, total=source.count, unit=" frames", disable=disable, leave=False))


def report_problems(source: "Source") -> Iterator["Frame"]:
    """The source's frames; says what is wrong with it, once each time."""
    reported = None
    for frame in source:
        if source.problem and source.problem != reported:
            log.warning(source.problem)
        reported = source.problem
        yield frame


def report(statistics: "RunStatistics", source: "Source", output: "Sink | None") -> None:
    """Prints what the run did, and warns of what the user should know."""
    from background_blur.statistics import plural

    if statistics.frames:
        seconds = statistics.elapsed - source.idle_seconds if source.is_sequence else None
        print(statistics.summary(seconds))
    if statistics.levels:
        print(f"{plural(source.dropped)} dropped; {statistics.format_quality()}")
    if statistics.frames and source.is_sequence:
        print(statistics.format_network())
    if statistics.hidden:
        print(f"{plural(statistics.hidden)} hidden by you")
    if statistics.failed:
        log.warning(f"{plural(statistics.failed)} fully blurred: no mask could be trusted")
    for warning in (source.warning, output and output.warning):
        if warning:
            log.warning(warning)


def program() -> None:
    """`python main.py`, `background-blur` and `python -m background_blur`."""
    open_missing()
    code = main()
    for name in SignalGuard.NAMES:  # all is done; Python only tidies up
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    program()

"""The program, from the command line to the exit code: opens everything, runs the loop, sums up."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os.path import isfile
from time import monotonic
from typing import TYPE_CHECKING, Self

from background_blur import cli
from background_blur.errors import UserError
from background_blur.options import Options
from background_blur.remote import Listener, Running, send
from background_blur.requirements import (
    OUT_OF_MEMORY,
    missing_library,
    require_packages,
    require_resources,
)
from background_blur.signals import RemoteControl
from background_blur.system import SignalGuard, open_missing, unbreakable_printing

if TYPE_CHECKING:  # imported late, so that --help answers at once
    from background_blur.capture.base import Source
    from background_blur.controls import Viewer
    from background_blur.frames import Frame, Result
    from background_blur.matting.quality import QualityController, QualityLevel
    from background_blur.opening import Sinks
    from background_blur.pipeline import BackgroundBlur
    from background_blur.settings import Background
    from background_blur.statistics import RunStatistics

log = logging.getLogger("background_blur")


def program() -> None:
    """Entry point of `main.py`, `background-blur` and `python -m background_blur`."""
    open_missing()
    code = main()
    for name in SignalGuard.NAMES:  # the work is done; Python is only cleaning up
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    with unbreakable_printing() as out:
        options = cli.parse(argv)
        cli.set_up_logging(options.verbose)
        code = run_to_exit_code(options)
        out.flush()
        if out.error:
            hint = "check where the output is piped to, and whether the disk is full"
            log.error(f"cannot print: {getattr(out.error, 'strerror', None) or out.error}; {hint}")
    return code or (1 if out.error else 0)


def run_to_exit_code(options: Options) -> int:
    guard, remote = SignalGuard(), RemoteControl()
    try:
        if options.send:
            return send(options.send)
        guard.install()
        remote.install()
        require_packages()
        require_resources()
        return run(options, guard, remote)
    except KeyboardInterrupt as stop:
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except UserError as error:
        complain(error)
    except ImportError as error:
        log.error(missing_library(error))
    except MemoryError:
        log.error(OUT_OF_MEMORY)
    except OSError as error:
        log.error(str(error))
    finally:
        guard.ignore_from_now_on()
    return 1


def complain(error: UserError) -> None:
    for line in error.lines:
        log.error(line)


def run(options: Options, guard: SignalGuard, remote: RemoteControl) -> int:
    """Does what the command line asks for; returns the exit code.

    Raises:
        UserError: a file cannot be opened or written at all.
        KeyboardInterrupt: a signal arrived.
    """
    import cv2

    cv2.setNumThreads(options.threads)
    if options.list_cameras or options.check:
        from background_blur import diagnostics

        if options.list_cameras:
            return diagnostics.list_cameras()
        return diagnostics.check(options, partial(open_pipeline, options))
    from background_blur.jobs import jobs

    code, goes_on = 0, True
    for job in jobs(options):
        try:
            guard.begin()
            failed, goes_on = run_job(job, guard, remote)
        except UserError as error:
            complain(error)
            failed = True
        code = max(code, int(failed))
        if not goes_on:
            break
    return code


def run_job(options: Options, guard: SignalGuard, remote: RemoteControl) -> tuple[bool, bool]:
    """Runs one source; returns whether no frame got a mask, and whether to go on to the next."""
    if options.skip_existing and options.output and isfile(options.output):
        print(f"{options.output}: exists; skipped")
        return False, True
    with Session(options, guard, remote) as session:
        goes_on = session.run()
    return session.statistics.never_trusted, goes_on


class Session:
    """Holds everything that is open while frames go from one source to its sinks.

    On entry it opens them; on exit it closes them, the output first, and prints a summary.

    Raises:
        UserError: something cannot be opened, read or written.
    """

    def __init__(self, options: Options, guard: SignalGuard, remote: RemoteControl):
        self.options, self.guard, self.remote = options, guard, remote
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as on_failure:
            on_failure.push(self.stack)
            self.open(self.stack)
            on_failure.pop_all()
        return self

    def __exit__(self, *error: object) -> bool | None:
        from background_blur.reporting import report

        try:
            return self.stack.__exit__(*error)  # pyright: ignore[reportArgumentType]
        finally:
            report(self.statistics, self.source, self.sinks.output)

    def open(self, stack: ExitStack) -> None:
        from background_blur.capture import open_file, open_source
        from background_blur.matting.quality import QualityController
        from background_blur.opening import adapt, open_sinks
        from background_blur.rendering.backgrounds import open_background
        from background_blur.statistics import RunStatistics

        options, self.statistics = self.options, RunStatistics()
        self.backgrounds = {text: open_background(text, open_file) for text in options.background}
        reopen = partial(
            open_source,
            options.source,
            options.size,
            options.fps,
            wait=options.wait,
            without=options.without,
        )
        source = stack.enter_context(reopen())
        self.sinks = open_sinks(options, source, stack)
        self.source = source = adapt(source, self.sinks, reopen, options.wait)
        stack.callback(source.close)
        background = self.backgrounds[options.background[0]]
        self.blur = open_pipeline(options, source.is_sequence, background)
        settings = self.blur.settings
        self.viewer = self.sinks.viewer(source, settings, self.backgrounds, self.statistics)
        is_adaptive = source.live and source.is_sequence
        best = options.quality == "best"
        self.quality = QualityController(source.fps, best=best) if is_adaptive else None
        if source.live or self.sinks.are_watched:
            camera = self.sinks.camera
            running = Running(source, settings, self.backgrounds, self.statistics, camera)
            stack.enter_context(Listener(running))
        if self.sinks.output:
            stack.push(self.sinks.output)  # closed first: closing the others might hang
        stack.callback(self.guard.shield_from_now_on)  # runs first

    def run(self) -> bool:
        """Runs the loop; returns whether the source ended, rather than the user stopping it."""
        loop = Loop(self.source, self.blur, self.sinks, self.statistics, self.guard)
        loop.viewer, loop.quality = self.viewer, self.quality
        loop.obey = partial(self.remote.apply, self.blur.settings, self.backgrounds)
        return loop.run()


@dataclass
class Loop:
    """Moves frames from a source through the pipeline to the sinks."""

    source: "Source"
    blur: "BackgroundBlur"
    sinks: "Sinks"
    statistics: "RunStatistics"
    guard: SignalGuard
    viewer: "Viewer | None" = None  # shows the frames, if there is a window
    quality: "QualityController | None" = None  # for live sources only
    obey: Callable[[], list[str]] = list  # acts on SIGUSR1 and SIGUSR2; returns what it did
    began = 0.0  # when the newest frame arrived
    level: "QualityLevel | None" = None  # of that frame

    def run(self) -> bool:
        """Runs until the source ends (returns True) or the user stops it (returns False)."""
        held = self.sinks.are_watched and not self.source.is_sequence  # photos on screen
        at_once = self.source.live or held
        results = map(self.blur_now, self.frames()) if at_once else self.blur.process(self.frames())
        timer = self.statistics.timer
        for result in results:
            for sink in filter(None, (self.sinks.output, self.sinks.camera)):
                with self.guard.shielded(), timer.measure("write"):
                    sink.write(result)
            self.statistics.record(result, self.level)
            self.guard.check()
            if not self.show(result):
                return False
            if self.quality:
                self.quality.record(self.began, monotonic())
        return True

    def frames(self) -> "Iterator[Frame]":
        """Yields the source's frames; acts on signals that have arrived before each one."""
        from background_blur.reporting import progress

        frames = progress(self.source, self.sinks.output)
        for frame in self.statistics.timer.each("read", frames):
            self.began = monotonic()
            for note in self.obey():
                log.info(note)
            yield frame

    def show(self, result: "Result") -> bool:
        """Shows a result; returns whether to continue."""
        if not self.viewer:
            return True
        with self.statistics.timer.measure("show"):
            return self.viewer.show(result)

    def blur_now(self, frame: "Frame") -> "Result":
        self.level = self.quality.level if self.quality else None
        return self.blur(frame, self.level)


def open_pipeline(
    options: Options,
    is_sequence: bool = True,
    background: "Background | str | None" = None,
) -> "BackgroundBlur":
    """Opens the pipeline with the user's settings. Raises WeightsError."""
    from background_blur.matting.engines import open_segmenter
    from background_blur.pipeline import BackgroundBlur
    from background_blur.settings import Settings

    settings = Settings(
        view=options.view,
        strength=options.strength,
        mirror=options.mirror,
        people=options.people,
        follow=options.follow,
        background=background,
        hide=options.hidden,
    )
    thorough = not is_sequence
    segmenter = open_segmenter(options.engine, options.weights, options.threads, thorough)
    return BackgroundBlur(segmenter, settings, is_sequence=is_sequence)

"""Blurs the background behind you, live: `python main.py`."""

import argparse
import logging
import os
import signal
import sys

if __name__ == "__main__":  # `python -I` leaves the folder of the script out
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from background_blur import cli
from background_blur.errors import UserError
from background_blur.remote import Listener, Running, send
from background_blur.requirements import (
    OUT_OF_MEMORY,
    missing_library,
    require_packages,
    require_resources,
)
from background_blur.signals import RemoteControl
from background_blur.system import SignalGuard, open_missing, unbreakable_printing

if TYPE_CHECKING:  # imported late: they take their time, which --help has not
    from background_blur.capture.base import Source
    from background_blur.controls import Viewer
    from background_blur.matting.quality import QualityController
    from background_blur.opening import Sinks
    from background_blur.pipeline import BackgroundBlur
    from background_blur.statistics import RunStatistics

# Live frames leave time enough for one thread, and a second costs a sixth more processor time.
LIVE_THREADS, THREADS = 1, 2

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
        if args.send:
            return send(args.send)
        require_packages()
        require_resources()
        guard.install()
        remote.install()
        return run(args, guard, remote)
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


def run(args: argparse.Namespace, guard: SignalGuard, remote: RemoteControl) -> int:
    """Does what the command line asks for; returns the exit code.

    Raises:
        UserError: a file cannot be opened or written at all.
        KeyboardInterrupt: a signal came.
    """
    import cv2

    cv2.setNumThreads(args.threads or LIVE_THREADS)
    if args.list_cameras or args.check:
        from background_blur import diagnostics

        if args.list_cameras:
            return diagnostics.list_cameras()
        args.threads = args.threads or LIVE_THREADS
        return diagnostics.check(args, lambda: open_pipeline(args))
    from background_blur.jobs import jobs

    code = 0
    for job in jobs(args):
        try:
            guard.begin()
            failed, goes_on = run_job(job, guard, remote)
        except UserError as error:
            complain(error)
            failed, goes_on = True, True
        code = max(code, int(failed))
        if not goes_on:
            break
    return code


def complain(error: UserError) -> None:
    for line in error.lines:
        log.error(line)


def run_job(
    args: argparse.Namespace, guard: SignalGuard, remote: RemoteControl
) -> tuple[bool, bool]:
    """Runs one source; returns whether it failed, no frame having a mask, and whether the user
    wants to go on. Raises as `run`."""
    if args.skip_existing and os.path.isfile(args.output):
        print(f"{args.output}: exists; skipped")
        return False, True
    from background_blur.reporting import report

    with ExitStack() as afterwards, ExitStack() as stack:
        opened = open_run(args, stack, guard, remote)
        afterwards.callback(report, opened.statistics, opened.source, opened.sinks.output)
        if opened.sinks.output:
            # Completed before anything else, which might hang, ends.
            stack.push(opened.sinks.output)
        stack.callback(guard.shield_from_now_on)  # the first of what is done at the end
        goes_on = stream(opened)
    return opened.statistics.never_trusted, goes_on


@dataclass
class Run:
    """All that is open while frames go from the source to the sinks."""

    source: "Source"
    blur: "BackgroundBlur"
    sinks: "Sinks"
    statistics: "RunStatistics"
    guard: SignalGuard
    viewer: "Viewer | None" = None  # shows the frames, where there is a window
    quality: "QualityController | None" = None  # of live sources
    obey: Callable[[], list[str]] = list  # does what SIGUSR1 and SIGUSR2 asked for, and says what


def open_run(
    args: argparse.Namespace, stack: ExitStack, guard: SignalGuard, remote: RemoteControl
) -> Run:
    """Opens everything; `stack` closes it. Raises UserError."""
    import cv2

    from background_blur.capture import open_file, open_source
    from background_blur.matting.quality import QualityController
    from background_blur.opening import adapt, open_sinks
    from background_blur.rendering.backgrounds import open_background
    from background_blur.statistics import RunStatistics

    backgrounds = {text: open_background(text, open_file) for text in args.background}
    options = {"without": args.without} if args.without else {}
    reopen = partial(open_source, args.source, args.size, args.fps, wait=args.wait, **options)
    source = stack.enter_context(reopen())
    sinks = open_sinks(args, source, stack)
    source = adapt(source, sinks, reopen, args.wait)
    stack.callback(source.close)
    if not args.threads:
        args.threads = LIVE_THREADS if source.live else THREADS
        cv2.setNumThreads(args.threads)
    blur = open_pipeline(args, source.is_sequence, backgrounds[args.background[0]])
    opened = Run(source, blur, sinks, RunStatistics(), guard)
    opened.viewer = sinks.viewer(source, blur.settings, backgrounds, opened.statistics)
    if source.live and source.is_sequence:
        opened.quality = QualityController(source.fps, best=args.quality == "best")
    opened.obey = partial(remote.apply, blur.settings, backgrounds)
    if source.live or sinks.are_watched:
        running = Running(source, blur.settings, backgrounds, opened.statistics, sinks.camera)
        stack.enter_context(Listener(running))
    return opened


def open_pipeline(
    args: argparse.Namespace, is_sequence: bool = True, background: Any = None
) -> "BackgroundBlur":
    """What finishes the frames, as the user wishes. Raises WeightsError."""
    from background_blur.matting.engines import open_segmenter
    from background_blur.pipeline import BackgroundBlur
    from background_blur.settings import Settings

    settings = Settings(
        view=args.view,
        strength=args.strength,
        mirror=args.mirror,
        people=args.people,
        follow=args.follow,
        background=background,
        hide=args.hidden,
    )
    segmenter = open_segmenter(args.engine, args.weights, args.threads, thorough=not is_sequence)
    return BackgroundBlur(segmenter, settings, is_sequence=is_sequence)


def stream(run: Run) -> bool:
    """The loop: goes on until the source ends, or the user stops it, which returns False."""
    from background_blur.reporting import progress

    quality = run.quality
    for frame in progress(run.source, run.sinks.output):
        began = monotonic()
        for note in run.obey():
            log.info(note)
        level = quality.level if quality else None
        result = run.blur(frame, level)
        with run.guard.shielded():
            for sink in filter(None, (run.sinks.output, run.sinks.camera)):
                sink.write(result)
        run.statistics.record(result, level)
        run.guard.check()
        if run.viewer and not run.viewer.show(result):
            return False
        if quality:
            quality.record(began, monotonic())
    return True


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

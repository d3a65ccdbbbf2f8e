"""Measures what a frame costs, by stage, and compares it with other ways to blur a background.

    python -m tools.measuring.bench --clip PERSON.mp4 --peer selfie_segmentation_landscape.tflite \\
        --rvm RVM --original --json figures.json --write docs/figures.md

Each row is a separate run in a fresh process; the runs take turns, `--rounds` times, and the median
of each figure is reported. `this` is the whole loop of `main.py`:

- on a video: with no output, written to a file, and in a window;
- on a camera, either a fake one, which plays the clip with noise at 30 frames/s as JPEGs to decode,
  or a real one (`--camera`): with no output, with nobody moving, in a window, and sent to a
  PipeWire camera that another program reads.

`mediapipe` is the documented recipe of MediaPipe Selfie Segmentation, on both. On the video, `rvm`
is Robust Video Matting scaled to 320 pixels, in TensorFlow, and `original` is what this program
began as: Keras `predict` of the 21-class network at 512x512 and output stride 8. Runs that are not
possible, such as a window without a display, are skipped, and the output says so.

Processor time, in ms per frame, covers all threads and any process that the run started; by stage,
it covers only the threads that do the stage, and FFmpeg's own threads account for the difference.
`first` is how long all of `main.py` takes for a video of one frame; `peak MB` is its memory for one
of 30 frames.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import cv2
import numpy as np

from background_blur import app as program
from background_blur import cli
from background_blur.capture import open_source
from background_blur.capture.base import Source, WrappedSource
from background_blur.capture.camera import Camera
from background_blur.errors import UserError
from background_blur.frames import Frame, Result, Size
from background_blur.matting.quality import QualityController, QualityLevel
from background_blur.opening import open_sinks
from background_blur.resources import RESOURCES
from background_blur.statistics import RunStatistics
from background_blur.system import SignalGuard
from tools.command import command_line, existing_file, existing_folder, reports_errors
from tools.measuring import contenders, recipes
from tools.measuring.costs import machine, merge, table, write_into
from tools.measuring.stand_ins import FPS, FakeCapture, film, write_video

WARM_UP = 2.0  # seconds at the start of a camera run that do not count
READER = "gst-launch-1.0 -q pipewiresrc target-object=background_blur ! fakesink sync=false"

# The program, which then prints its peak memory. On Linux `ru_maxrss` includes a parent's memory.
ALONE = """
import sys
from pathlib import Path
from background_blur.app import main
main(sys.argv[1:])
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
print(*(line for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


@dataclass(frozen=True)
class Run:
    """A row: what blurs, where the frames come from, and where they go."""

    who: str  # "this" or a key of OTHERS
    source: str  # "video", "camera", or "still": a camera in front of which nobody moves
    to: str = ""  # "file", "window", "pipewire", or "" for nowhere

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.who, self.source, self.to)))


OTHERS = {
    "mediapipe": lambda args: recipes.mediapipe(args.peer, args.threads or 2),
    "rvm": lambda args: recipes.rvm(contenders.rvm(args.rvm)["RVM"]()),
    "original": lambda args: recipes.original(args.threads or 2),
}
OURS = [
    *(Run("this", "video", to) for to in ("", "file", "window")),
    *(Run("this", "camera", to) for to in ("", "window", "pipewire")),
    Run("this", "still"),
]


class Lasting(WrappedSource):
    """A source that ends after a number of seconds."""

    def __init__(self, source: Source, seconds: float):
        super().__init__(source)
        self.seconds = seconds

    def __iter__(self) -> Iterator[Frame]:
        end = time.monotonic() + self.seconds
        for frame in self.source:
            yield frame
            if time.monotonic() > end:
                break


class WarmStatistics(RunStatistics):
    """Starts over after a camera's warm-up, and notes how old each frame is when it is done."""

    def __init__(self, warm_up: float):
        super().__init__()
        self.warm_at = time.monotonic() + warm_up if warm_up else 0.0
        self.ages: list[float] = []  # in ms

    def record(self, result: Result, level: QualityLevel | None = None) -> None:
        if self.warm_at and time.monotonic() > self.warm_at:
            timer = self.timer  # the loop holds it
            super().__init__()
            self.timer, self.warm_at = timer, 0.0
            timer.seconds.clear()
        super().record(result, level)
        self.ages += [1000 * self.latency] if self.latency is not None else []


def measure(run: Run, size: Size, pictures: list[np.ndarray], args: argparse.Namespace) -> dict:
    """The figures of one run, or why it is not possible; called in a process of its own."""
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        path, out = Path(folder, "in.mp4"), str(Path(folder, "out.mp4"))
        if run.source == "video":
            write_video(path, pictures, args.frames)
        try:
            with open_run_source(run, path, size, pictures, args) as source:
                if run.who != "this":
                    return measure_recipe(OTHERS[run.who](args), source)
                return measure_program(run, source, out, args)
        except UserError as error:
            return {"left out": str(error)}


def open_run_source(
    run: Run, path: Path, size: Size, pictures: list[np.ndarray], args: argparse.Namespace
) -> Source:
    if run.source == "video":
        return open_source(str(path))
    if args.camera is not None and run.source == "camera":
        return Lasting(Camera(args.camera, size), WARM_UP + args.seconds)
    played = pictures[:1] if run.source == "still" else pictures
    capture = cast(cv2.VideoCapture, FakeCapture(played))
    camera = Camera(0, size, open=lambda _: capture)
    return Lasting(camera, WARM_UP + args.seconds)


def measure_program(run: Run, source: Source, out: str, args: argparse.Namespace) -> dict:
    """Runs the program's loop. Raises UserError."""
    to = {"file": ["--output", out], "pipewire": ["--virtual-camera", "pipewire"]}
    window = [] if run.to == "window" else ["--no-window"]
    threads = ["--threads", str(args.threads)] if args.threads else []
    options = cli.parse(["--no-config", *threads, *to.get(run.to, []), *window])
    cv2.setNumThreads(options.threads)
    with ExitStack() as stack:
        sinks = open_sinks(options, source, stack)
        if run.to == "window" and not sinks.window:
            raise UserError("no display")
        if run.to == "pipewire":
            reader = subprocess.Popen(READER.split(), stderr=subprocess.DEVNULL)
            stack.callback(reader.wait)
            stack.callback(reader.terminate)
        source.unpace()
        blur = program.open_pipeline(options)
        statistics = WarmStatistics(WARM_UP if source.live else 0)
        loop = program.Loop(source, blur, sinks, statistics, SignalGuard())
        loop.viewer = sinks.viewer(source, blur.settings, {"blur": None}, statistics)
        loop.quality = QualityController(FPS) if source.live else None
        loop.run()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    frames = max(1, statistics.frames - 1)
    got: dict = {
        "fps": statistics.frames / (statistics.elapsed or 1),
        "cpu_ms": 1000 * statistics.processor / frames,
        "stages": statistics.costs(),
        "fully_blurred": statistics.failed,
    }
    if run.to == "pipewire":  # the GStreamer process, which passes the frames to PipeWire
        got["cpu_ms"] += 1000 * (children.ru_utime + children.ru_stime) / frames
    if source.live:
        got |= {"age_ms": float(np.percentile(statistics.ages, 95)), "dropped": source.dropped}
    return got


def measure_recipe(recipe: recipes.Recipe, source: Source) -> dict:
    """Runs another recipe on the frames; the first one after the warm-up does not count."""
    warm_at = time.monotonic() + (WARM_UP if source.live else 0)
    done = []  # when each frame was finished, and the processor time used by then
    for frame in source:
        recipe(frame.image)
        done.append((time.monotonic(), time.process_time()))
    warm = [it for it in done if it[0] >= warm_at]
    (began, spent_before), (ended, spent) = warm[0], warm[-1]
    count = max(1, len(warm) - 1)
    return {"fps": count / (ended - began or 1), "cpu_ms": 1000 * (spent - spent_before) / count}


def run_alone(pictures: list[np.ndarray]) -> dict:
    """How long `main.py` takes for a video of one frame, and its peak memory for one of 30."""
    command = [sys.executable, "-c", ALONE, "--no-window", "--no-config", "--source"]
    with TemporaryDirectory() as folder:
        short, longer = Path(folder, "1.mp4"), Path(folder, "30.mp4")
        write_video(short, pictures, 1)
        write_video(longer, pictures, 30)
        run = partial(subprocess.run, cwd=RESOURCES, check=True, capture_output=True)
        began = time.monotonic()
        run([*command, str(short)])
        first = time.monotonic() - began
        told = run([*command, str(longer)]).stderr
    kilobytes = told.split()
    return {"first_s": first} | ({"peak_mb": int(kilobytes[-2]) / 1024} if kilobytes else {})


def in_child(function: Callable[..., dict], *args: Any) -> dict:
    """Calls a function in a fresh process, so that earlier loading and allocation do not count."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def measure_size(size: Size, args: argparse.Namespace) -> dict[str, dict]:
    """All rows at one frame size, by name."""
    pictures = film(args.clip, size)
    others = {"mediapipe": args.peer, "rvm": args.rvm, "original": args.original}
    runs = [run for run in OURS if args.seconds or run.source == "video"]
    runs += [Run(name, "video") for name, wanted in others.items() if wanted]
    runs += [Run("mediapipe", "camera")] if args.peer and args.seconds else []
    rounds: dict[str, list[dict]] = {run.name: [] for run in runs}
    for _ in range(args.rounds):
        for run in runs:
            rounds[run.name].append(in_child(measure, run, size, pictures, args))
        rounds["this, video"][-1] |= in_child(run_alone, pictures)
    return {name: merge(figures) for name, figures in rounds.items()}


def even_sizes(text: str) -> list[Size]:
    sizes = [cli.size(part) for part in text.split(",")]
    if any(side % 2 for shape in sizes for side in shape):
        raise argparse.ArgumentTypeError(f"{text!r}: the sides of a video must be even")
    return sizes


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = command_line("measuring.bench", __doc__)
    add = p.add_argument
    size = "1280x720"
    add("--sizes", type=even_sizes, default=size, metavar="WxH,...", help=f"default {size}")
    add("--clip", type=existing_file, help="a clip of a moving person (default: the demo)")
    count, seconds = cli.number(int, 1, 10000), cli.number(float, 0, 86400)
    add("--frames", type=count, default=300, metavar="N", help="of the video (default 300)")
    add("--seconds", type=seconds, default=10.0, metavar="S", help="per camera run; 0: no camera")
    add("--rounds", type=count, default=3, metavar="N", help="default 3")
    network = {"type": existing_file, "metavar": "FILE.tflite"}
    add("--peer", **network, help="MediaPipe's network, for its recipe")
    add("--rvm", type=existing_folder, help="folder with an rvm.py; needs TensorFlow")
    add("--original", action="store_true", help="also the original recipe; needs TensorFlow")
    add("--camera", type=int, metavar="N", help="a real camera (default: one that plays the clip)")
    add(
        "--threads",
        type=cli.number(int, 1, 64),
        metavar="N",
        help="per network (default 1, for others 2)",
    )
    add("--json", metavar="FILE", help="also write the figures to this file")
    add("--write", type=existing_file, metavar="PAGE.md", help="put the tables between its markers")
    return p.parse_args(argv)


@reports_errors("measuring.bench")
def main(argv: list[str] | None = None) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = parse(argv)
    sizes = {"{}x{}".format(*size): measure_size(size, args) for size in args.sizes}
    report = {"machine": machine(), "rounds": args.rounds, "sizes": sizes}
    print(table(report))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    if args.write:
        write_into(args.write, table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures the pipeline beside other recipes, on clips it makes itself.

    python -m tools.measuring.bench --peer selfie_segmentation_landscape.tflite --original --keras

The contenders take turns at every frame, so that a noisy machine hits all alike:

- `original`: the recipe this program began as, Keras `predict` of the 21-class network at
  512x512 and output stride 8, on frames scaled to 512 pixels width; slow, so on few frames.
- `mediapipe`: the documented recipe of MediaPipe Selfie Segmentation, with `--peer`, at full size.
- `rvm`: Robust Video Matting, with `--rvm`, compiled for LiteRT for one size of frames: inputs
  `src` and `r1i` to `r4i`, outputs alpha and the four states.
- `ours`, `ours_keras`: the pipeline of `main.py` with either engine, at full size.
- `network`: the person network alone, on an input that is ready.

Each contender's time, but not the network's, includes the decoding of the frame, measured once.
Warm-up is left out. CPU time is that of all threads, and of the time they spin for more work.
Peak memory and the time from process start to the first finished frame come from a process of
each contender's own; ours is `main.py` itself there.

    python -m tools.measuring.bench --live 60 --load 2

measures instead how old a live picture is when it is shown, for so many seconds, while so many
other processes keep the cores busy; `--still` is for a picture in which only the noise moves, and
`--camera 0` reads a real camera in place of a stand-in. With `--peer` MediaPipe's recipe follows,
behind the same camera.
"""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from background_blur import app as program
from background_blur import cli
from background_blur.frames import Result
from background_blur.matting.engines import open_segmenter
from background_blur.matting.segmenter import nearest_input_size
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from background_blur.signals import RemoteControl
from background_blur.system import SignalGuard
from tools.command import command_line, existing_file, reports_errors
from tools.measuring import live, recipes
from tools.measuring.figures import Times, compare, figures, machine, table

SIZES = "640x360,1280x720,1920x1080,3840x2160"
WARM_UP = 5  # frames
ALONE_FRAMES = 5  # in a process of the contender's own
ORIGINAL_FRAMES = 5  # that the slow recipe runs on, at most
SETTLE = 0.02  # seconds; so long threads may spin for more work after a call
CONTENDERS = ("original", "mediapipe", "rvm", "ours", "ours_keras", "network")


@dataclass
class Contender:
    """One way to do it."""

    run: Callable  # uint8 [H,W,3] BGR -> a finished frame
    prepare: Callable = lambda image: image  # makes what `run` takes, not measured
    times: Times = field(default_factory=Times)

    def measure(self, given: Any, counts: bool) -> Any:
        """Runs once, notes the times if it `counts`, returns the result."""
        result, wall, cpu = timed(self.run, self.prepare(given))
        if counts:
            self.times.wall.append(wall)
            self.times.cpu.append(cpu)
            if isinstance(result, Result):
                self.times.stages.append({k: 1000 * v for k, v in result.seconds.items()})
                self.times.failed += bool(result.fully_blurred_because)
        return result


def chosen(size: tuple[int, int], args: argparse.Namespace) -> list[str]:
    wanted = {"original": args.original, "mediapipe": args.peer, "ours_keras": args.keras}
    wanted["rvm"] = args.rvm_size == size
    return [name for name in CONTENDERS if wanted.get(name, True)]


def open_contender(name: str, args: argparse.Namespace) -> Contender:
    """Loads one; raises WeightsError where ours has no weights."""
    if name == "original":
        every = max(1, args.frames // ORIGINAL_FRAMES)
        return Contender(recipes.original(args.coral, args.threads), times=Times(every))
    if name == "mediapipe":
        return Contender(recipes.mediapipe(args.peer, args.threads))
    if name == "rvm":
        return Contender(recipes.rvm(args.rvm, args.threads))
    engine = "keras" if name == "ours_keras" else "litert"
    segmenter = open_segmenter(engine, None, args.threads)
    if name == "network":
        return Contender(segmenter.engine, prepare=network_input)
    return Contender(BackgroundBlur(segmenter, Settings()))


def network_input(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, nearest_input_size(image.shape[1::-1])).astype(np.float32)


def in_child(function: Callable, *args: Any) -> Any:
    """Calls it in a fresh process: what was loaded or allocated before is not in its figures."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def write_clip(path: Path, shape: tuple[int, int], count: int) -> None:
    """Writes `count` frames of the demo's moving portrait as H.264; `shape` is (width, height)."""
    import av

    from background_blur.capture.demo import Demo

    demo = Demo(shape, paced=False)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height = shape
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "veryfast", "crf": "20"}
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(demo.picture(index), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_clip(path: Path) -> Iterator[np.ndarray]:
    """Decodes by one thread, so that nothing is decoded in another's time."""
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def timed(call: Callable, *args: Any) -> tuple[Any, float, float]:
    """Returns (its result, ms, ms of CPU in all threads)."""
    cpu, began = time.process_time(), time.perf_counter()
    result = call(*args)
    wall = time.perf_counter() - began
    time.sleep(SETTLE)  # threads that still spin are this call's, not the next one's
    return result, 1000 * wall, 1000 * (time.process_time() - cpu)


def take_turns(clip: Path, size: tuple[int, int], args: argparse.Namespace) -> dict:
    """Measures all contenders frame by frame; returns {"decode" or contender: figures}."""
    contenders = {name: open_contender(name, args) for name in chosen(size, args)}
    decode = Contender(next)
    frames = read_clip(clip)
    for index in range(-WARM_UP, args.frames):
        image = decode.measure(frames, index >= 0)
        for contender in contenders.values():
            if index == -WARM_UP or index % contender.times.every == 0:
                contender.measure(image, index >= 0)
    result = {name: figures(it.times, decode.times) for name, it in contenders.items()}
    result["network"] = figures(contenders["network"].times)  # needs no decoding
    return {"decode": figures(decode.times)} | result


def run_alone(name: str, clip: Path, args: argparse.Namespace, born: float) -> dict:
    """Runs one contender from its start, ours as all of `main.py`.

    `born` is when its process was asked for, by time.time().
    """
    if name.startswith("ours"):
        watcher = live.Watcher()
        engine = "keras" if name == "ours_keras" else "litert"
        command = ["--source", str(clip), "--no-window", "--engine", engine]
        options = cli.parse([*command, "--threads", str(args.threads)])
        session = program.Session(options, SignalGuard(), RemoteControl())
        with redirect_stdout(io.StringIO()), session:
            session.viewer = watcher  # where a window would show the frames
            session.run()
        finished = watcher.times[0]
    else:
        recipe, frames = open_contender(name, args).run, read_clip(clip)
        recipe(next(frames))
        finished = time.monotonic()
        for image in frames:
            recipe(image)
    first = finished - time.monotonic() + time.time() - born
    assert sys.platform != "win32"
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"first_frame_s": round(first, 2), "peak_mb": round(peak)}


def measure_all(args: argparse.Namespace) -> dict:
    """Runs everything; returns what `--json` writes."""
    sizes = {}
    with TemporaryDirectory() as folder:
        for shape in args.sizes:
            name = "{}x{}".format(*shape)
            clip, short = Path(folder, f"{name}.mp4"), Path(folder, f"{name}-short.mp4")
            in_child(write_clip, clip, shape, WARM_UP + args.frames)
            in_child(write_clip, short, shape, ALONE_FRAMES)
            sizes[name] = in_child(take_turns, clip, shape, args)
            for contender in chosen(shape, args)[:-1]:  # the network alone has no process
                sizes[name][contender] |= in_child(run_alone, contender, short, args, time.time())
            compare(sizes[name])
    settings = {"frames": args.frames, "warm up": WARM_UP, "threads": args.threads}
    return {"machine": machine(), "settings": settings, "sizes": sizes}


def measure_live(args: argparse.Namespace) -> dict:
    """Runs each size for `--live` seconds; returns what `--json` writes."""
    names = ("live", "load", "still", "camera", "threads")
    settings, sizes = {name: getattr(args, name) for name in names}, {}
    for size in args.sizes:
        scene = live.Scene(size, args.live, args.load, args.still, args.camera)
        name = "{}x{}".format(*size)
        sizes[name] = in_child(live.measure, scene, args.threads)
        if args.peer:
            peer = in_child(live.measure_recipe, scene, args.peer, args.threads)
            ratio = sizes[name]["cpu_ms"] / max(peer["cpu_ms"], 0.01)
            sizes[name] |= {"mediapipe": peer, "cpu_over_mediapipe": round(ratio, 2)}
    return {"machine": machine(), "settings": settings, "live": sizes}


def even_sizes(text: str) -> list[tuple[int, int]]:
    sizes = [cli.size(part) for part in text.split(",")]
    if any(side % 2 for shape in sizes for side in shape):
        raise argparse.ArgumentTypeError(f"{text!r}: a video's sides are even")
    return sizes


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = command_line("measuring.bench", __doc__)
    add = p.add_argument
    add("--sizes", type=even_sizes, default=SIZES, metavar="WxH,...", help=f"default {SIZES}")
    count, seconds = cli.number(int, 1, 10000), cli.number(float, 0, 86400)
    add("--frames", type=count, default=60, metavar="N", help="to measure (default 60)")
    network = {"type": existing_file, "metavar": "FILE.tflite"}
    add("--peer", **network, help="MediaPipe's network, for its recipe")
    add("--rvm", **network, help="Robust Video Matting, compiled for one of the sizes")
    add("--original", action="store_true", help="the original recipe too; needs TensorFlow")
    add("--keras", action="store_true", help="ours with --engine keras too; needs TensorFlow")
    add("--coral", **network, help="weights for the original recipe")
    add("--live", type=seconds, metavar="SECONDS", help="how fresh a live picture is")
    add("--load", type=int, default=0, metavar="N", help="processes to keep busy beside --live")
    add("--still", action="store_true", help="nothing but noise moves in the --live picture")
    add("--camera", type=int, metavar="N", help="a real camera for --live; default: a stand-in")
    add("--json", metavar="FILE", help="write the figures there; - prints them, not the table")
    threads = cli.number(int, 1, 64)
    add("--threads", type=threads, metavar="N", help="per network (default 2; of --live 1)")
    args = p.parse_args(argv)
    if args.live and (args.rvm or args.original or args.keras):
        p.error("--live takes no contender but --peer")
    if not args.live and (args.load or args.still or args.camera is not None):
        p.error("--load, --still and --camera are for --live")
    if args.camera is not None and args.still:
        p.error("--still is for the stand-in, not for a --camera")
    # In a child, as the memory of this process counts into that of its children.
    args.rvm_size = in_child(recipes.rvm_size, args.rvm) if args.rvm else None
    if args.rvm_size and args.rvm_size not in args.sizes:
        p.error("argument --rvm: a network for frames of {}x{}".format(*args.rvm_size))
    args.threads = args.threads or (program.LIVE_THREADS if args.live else program.THREADS)
    return args


@reports_errors("measuring.bench")
def main(argv: list[str] | None = None) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = parse(argv)
    report = measure_live(args) if args.live else measure_all(args)
    text = json.dumps(report, indent=1)
    print(text if args.json == "-" else table(report))
    if args.json not in (None, "-"):
        Path(args.json).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

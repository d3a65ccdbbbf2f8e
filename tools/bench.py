"""Measures the pipeline beside other recipes, on clips it makes itself.

    python -m tools.bench --peer selfie_segmentation_landscape.tflite --original --keras

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

    python -m tools.bench --live 60 --load 2

measures instead how old a live picture is when it is shown, for so many seconds, while so many
other processes keep the cores busy; `--still` is for a picture in which only the noise moves, and
`--camera 0` reads a real camera in place of a stand-in. With `--peer` MediaPipe's recipe follows,
behind the same camera.
"""

import argparse
import io
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from background_blur import app as program
from background_blur import cli
from background_blur.frames import Result
from background_blur.matting.engines import open_segmenter
from background_blur.matting.segmenter import nearest_input_size
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from tools import recipes
from tools.command import command_line, reports_errors

SIZES = "640x360,1280x720,1920x1080,3840x2160"
WARM_UP = 5  # frames
ALONE_FRAMES = 5  # in a process of the contender's own
ORIGINAL_FRAMES = 5  # that the slow recipe runs on, at most
SETTLE = 0.02  # seconds; so long threads may spin for more work after a call
LIBRARIES = ("numpy", "opencv-python", "av", "ai-edge-litert", "keras", "tensorflow")
CONTENDERS = ("original", "mediapipe", "rvm", "ours", "ours_keras", "network")


@dataclass
class Contender:
    """One way to do it, and what was measured of it, an entry a frame, in ms."""

    run: Callable  # uint8 [H,W,3] BGR -> a finished frame
    prepare: Callable = lambda image: image  # makes what `run` takes, not measured
    every: int = 1  # runs on every N-th frame
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)  # of ours
    failed: int = 0  # frames that left fully blurred

    def measure(self, image, counts: bool):
        """Runs once, notes the times if it `counts`, returns the result."""
        result, wall, cpu = timed(self.run, self.prepare(image))
        if counts:
            self.wall.append(wall)
            self.cpu.append(cpu)
            if isinstance(result, Result):
                self.stages.append({k: 1000 * v for k, v in result.seconds.items()})
                self.failed += bool(result.fully_blurred_because)
        return result


# --- The contenders


def chosen(size: tuple[int, int], args: argparse.Namespace) -> list[str]:
    wanted = {"original": args.original, "mediapipe": args.peer, "ours_keras": args.keras}
    wanted["rvm"] = args.rvm_size == size
    return [name for name in CONTENDERS if wanted.get(name, True)]


def open_contender(name: str, args: argparse.Namespace) -> Contender:
    """Loads one; raises WeightsError where ours has no weights."""
    if name == "original":
        every = max(1, args.frames // ORIGINAL_FRAMES)
        return Contender(recipes.original(args.coral, args.threads), every=every)
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


# --- Measuring, each function in a process of its own


def in_child(function: Callable, *args):
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


def timed(call: Callable, *args):
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
            if index == -WARM_UP or index % contender.every == 0:
                contender.measure(image, index >= 0)
    result = {name: figures(it, decode) for name, it in contenders.items() if name != "network"}
    return {"decode": figures(decode), **result, "network": figures(contenders["network"])}


def run_alone(name: str, clip: Path, args: argparse.Namespace, born: float) -> dict:
    """Runs one contender from its start; `born` is when its process was asked for."""
    finished = []

    def noted(call: Callable) -> Callable:
        def run(*given):
            result = call(*given)
            finished.append(time.time() - born)
            return result

        return run

    if name.startswith("ours"):
        BackgroundBlur.__call__ = noted(BackgroundBlur.__call__)
        command = ["--source", str(clip), "--no-window", "--threads", str(args.threads)]
        with redirect_stdout(io.StringIO()):
            program.main([*command, "--engine", "keras" if name == "ours_keras" else "litert"])
    else:
        run = noted(open_contender(name, args).run)
        for image in read_clip(clip):
            run(image)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"first_frame_s": round(finished[0], 2), "peak_mb": round(peak)}


# --- Figures


def figures(contender: Contender, decode: Contender | None = None) -> dict:
    """Sums up; where `decode` is given, each frame's time includes that of its decoding."""
    wall, cpu = np.array(contender.wall), np.array(contender.cpu)
    if decode:
        wall = wall + decode.wall[:: contender.every]
        cpu = cpu + decode.cpu[:: contender.every]
    fps, cpu_ms = 1000 / float(np.median(wall)), float(np.median(cpu))
    names = contender.stages[0] if contender.stages else {}
    stages = {n: spread([took[n] for took in contender.stages]) for n in names}
    result = spread(wall) | {"frames": len(wall), "fps": round(fps, 1), "cpu_ms": round(cpu_ms, 2)}
    if contender.stages:
        result |= {"stages": stages, "fully_blurred": contender.failed}
    return result


def spread(milliseconds) -> dict:
    middle, slow = np.percentile(milliseconds, (50, 95))
    return {"median_ms": round(float(middle), 2), "p95_ms": round(float(slow), 2)}


def ratios(sizes: dict) -> dict:
    """Compares the contenders at each size, {"WxH": {contender: figures}}.

    `line_over_network` is without decoding. `growth_per_doubling` says how our stages outside the
    network grow from the size before, when the pixels double.
    """
    result, last = {}, None
    for name, at in sizes.items():
        row, ours, network = {}, at["ours"], at["network"]["median_ms"]
        for other in ("original", "mediapipe", "rvm", "ours_keras"):
            if other in at:
                row[f"fps_over_{other}"] = ours["fps"] / at[other]["fps"]
                row[f"cpu_over_{other}"] = ours["cpu_ms"] / at[other]["cpu_ms"]
        row["line_over_network"] = (ours["median_ms"] - at["decode"]["median_ms"]) / network
        row["line_and_decode_over_network"] = ours["median_ms"] / network
        outside = sum(v["median_ms"] for k, v in ours["stages"].items() if k != "segment")
        pixels = np.prod(cli.size(name))
        if last and pixels != last[0]:
            doublings = np.log2(pixels / last[0])
            row["growth_per_doubling"] = (outside / last[1]) ** (1 / doublings)
        last = pixels, outside
        result[name] = {k: round(float(v), 2) for k, v in row.items()}
    return result


def machine() -> dict:
    versions = {d.name: d.version for d in metadata.distributions() if d.name in LIBRARIES}
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "os": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: versions[name] for name in LIBRARIES if name in versions},
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for text in info.read_text().splitlines() if info.exists() else ():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# --- The command


def table(report: dict) -> str:
    """The report as aligned text."""
    here = report["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in here["versions"].items() if v)
    lines = [
        f"{here['cpu']}, {here['cores']} cores, {here['os']}, {here['date']}",
        f"Python {here['python']}, {versions}",
        "{frames} frames after {warm_up} to warm up, {threads} threads".format(
            **report["settings"]
        ),
    ]
    heads = ("median", "95 %", "frames/s", "CPU ms", "peak MB", "first s")
    keys = ("median_ms", "p95_ms", "fps", "cpu_ms", "peak_mb", "first_frame_s")
    for name, at in report["sizes"].items():
        lines += ["", f"{name + ', ms per frame':<22}" + "".join(f"{head:>10}" for head in heads)]
        for contender, got in at.items():
            lines.append(f"{contender:<22}" + "".join(f"{got.get(k, '-'):>10}" for k in keys))
            for stage, took in got.get("stages", {}).items():
                lines.append(f"  {stage:<20}{took['median_ms']:>10}{took['p95_ms']:>10}")
            if got.get("fully_blurred"):
                lines.append(f"  beware: {got['fully_blurred']} frames had no mask to trust")
    names = list(dict.fromkeys(k for row in report["ratios"].values() for k in row))
    lines += ["", f"{'ratios':<30}" + "".join(f"{name:>12}" for name in report["ratios"])]
    for key in names:
        row = [report["ratios"][name].get(key, "-") for name in report["ratios"]]
        lines.append(f"{key:<30}" + "".join(f"{value:>12}" for value in row))
    return "\n".join(lines)


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
    settings = {"frames": args.frames, "warm_up": WARM_UP, "threads": args.threads}
    return {"machine": machine(), "settings": settings, "sizes": sizes, "ratios": ratios(sizes)}


def measure_live(args: argparse.Namespace) -> dict:
    """Runs each size for `--live` seconds; returns what `--json` writes."""
    from tools import live

    settings = {"seconds": args.live, "load": args.load, "still": args.still}
    settings |= {"camera": args.camera, "threads": args.threads}
    sizes = {}
    for size in args.sizes:
        scene = live.Scene(size, args.live, args.load, args.still, args.camera)
        name = "{}x{}".format(*size)
        sizes[name] = in_child(live.measure, scene, args.threads)
        if args.peer:
            peer = in_child(live.measure_recipe, scene, args.peer, args.threads)
            ratio = sizes[name]["cpu_ms"] / max(peer["cpu_ms"], 0.01)
            sizes[name] |= {"mediapipe": peer, "cpu_over_mediapipe": round(ratio, 2)}
    return {"machine": machine(), "settings": settings, "live": sizes}


def live_table(report: dict) -> str:
    how = "{seconds:g} s, {threads} threads, {load} busy processes, {scene}"
    scene = "still" if report["settings"]["still"] else "moving"
    if report["settings"]["camera"] is not None:
        scene = "camera {camera}".format(**report["settings"])
    lines = [how.format(scene=scene, **report["settings"])]
    for name, got in report["live"].items():
        lines += ["", name, *(f"  {key:<20}{value}" for key, value in got.items())]
    return "\n".join(lines)


def even_sizes(text: str) -> list[tuple[int, int]]:
    sizes = [cli.size(part) for part in text.split(",")]
    if any(side % 2 for shape in sizes for side in shape):
        raise argparse.ArgumentTypeError(f"{text!r}: a video's sides are even")
    return sizes


def file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    p = command_line("bench", __doc__)
    add = p.add_argument
    add("--sizes", type=even_sizes, default=SIZES, metavar="WxH,...", help=f"default {SIZES}")
    count, seconds = cli.number(int, 1, 10000), cli.number(float, 0, 86400)
    add("--frames", type=count, default=60, metavar="N", help="to measure (default 60)")
    add("--peer", type=file, metavar="FILE.tflite", help="MediaPipe's network, for its recipe")
    add(
        "--rvm",
        type=file,
        metavar="FILE.tflite",
        help="Robust Video Matting, compiled for one of the sizes",
    )
    add("--original", action="store_true", help="the original recipe too; needs TensorFlow")
    add("--keras", action="store_true", help="ours with --engine keras too; needs TensorFlow")
    add("--coral", type=file, metavar="FILE.tflite", help="weights for the original recipe")
    add("--live", type=seconds, metavar="SECONDS", help="how fresh a live picture is")
    add("--load", type=int, default=0, metavar="N", help="processes to keep busy beside --live")
    add("--still", action="store_true", help="nothing but noise moves in the --live picture")
    add("--camera", type=int, metavar="N", help="a real camera for --live; default: a stand-in")
    add("--json", metavar="FILE", help="write the figures there; - prints them, not the table")
    threads = cli.number(int, 1, 64)
    add("--threads", type=threads, metavar="N", help="per network (default 2; of --live 1)")
    return p


def check(args: argparse.Namespace, p: argparse.ArgumentParser) -> None:
    """Refuses options that say nothing together; sets `args.rvm_size`.

    That is found out in a child, as the memory of this process counts into that of its children.
    """
    if args.live and (args.rvm or args.original or args.keras):
        p.error("--live takes no contender but --peer")
    if not args.live and (args.load or args.still or args.camera is not None):
        p.error("--load, --still and --camera are for --live")
    if args.camera is not None and args.still:
        p.error("--still is for the stand-in, not for a --camera")
    args.rvm_size = in_child(recipes.rvm_size, args.rvm) if args.rvm else None
    if args.rvm_size and args.rvm_size not in args.sizes:
        p.error("argument --rvm: a network for frames of {}x{}".format(*args.rvm_size))


@reports_errors("tools.bench")
def main(argv: list[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    args.threads = args.threads or (program.LIVE_THREADS if args.live else program.THREADS)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    check(args, p)
    measure, as_table = (measure_live, live_table) if args.live else (measure_all, table)
    report = measure(args)
    text = json.dumps(report, indent=1)
    print(text if args.json == "-" else as_table(report))
    if args.json not in (None, "-"):
        Path(args.json).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

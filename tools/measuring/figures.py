"""What `tools.measuring.bench` measured, summed up, compared and laid out as text."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from background_blur import cli

LIBRARIES = ("numpy", "opencv-python", "av", "ai-edge-litert", "keras", "tensorflow")


@dataclass
class Times:
    """What was measured of a contender, an entry a frame, in ms."""

    every: int = 1  # it runs on each so-many-th frame
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)  # of ours
    failed: int = 0  # frames that left fully blurred


def figures(times: Times, decode: Times | None = None) -> dict:
    """Sums up; where `decode` is given, each frame's time includes that of its decoding."""
    wall, cpu = np.array(times.wall), np.array(times.cpu)
    if decode:
        wall = wall + decode.wall[:: times.every]
        cpu = cpu + decode.cpu[:: times.every]
    fps, cpu_ms = 1000 / float(np.median(wall)), float(np.median(cpu))
    names = dict.fromkeys(name for took in times.stages for name in took)
    stages = {n: spread([took[n] for took in times.stages if n in took]) for n in names}
    result = spread(wall) | {"frames": len(wall), "fps": round(fps, 1), "cpu_ms": round(cpu_ms, 2)}
    if times.stages:
        result |= {"stages": stages, "fully_blurred": times.failed}
    return result


def spread(milliseconds: Sequence[float] | np.ndarray) -> dict[str, float]:
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


def live_table(report: dict) -> str:
    how = "{seconds:g} s, {threads} threads, {load} busy processes, {scene}"
    scene = "still" if report["settings"]["still"] else "moving"
    if report["settings"]["camera"] is not None:
        scene = "camera {camera}".format(**report["settings"])
    lines = [how.format(scene=scene, **report["settings"])]
    for name, got in report["live"].items():
        lines += ["", name, *(f"  {key:<20}{value}" for key, value in got.items())]
    return "\n".join(lines)

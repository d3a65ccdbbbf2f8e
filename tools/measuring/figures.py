"""What `tools.measuring.bench` measured, summed up, compared and laid out as text."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

LIBRARIES = ("numpy", "opencv-python", "av", "ai-edge-litert", "keras", "tensorflow")
COLUMNS = {  # name in the JSON: head of the column
    "median_ms": "median",
    "p95_ms": "95 %",
    "fps": "frames/s",
    "cpu_ms": "CPU ms",
    "peak_mb": "peak MB",
    "first_frame_s": "first s",
    "ours_fps": "ours: fps",  # over the contender's
    "ours_cpu": "ours: CPU",
}


@dataclass
class Times:
    """What was measured of a contender, an entry a frame, in ms."""

    every: int = 1  # it runs on every Nth frame
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
    return result | ({"stages": stages, "fully_blurred": times.failed} if stages else {})


def spread(milliseconds: Sequence[float] | np.ndarray) -> dict[str, float]:
    middle, slow = np.percentile(milliseconds, (50, 95))
    return {"median_ms": round(float(middle), 2), "p95_ms": round(float(slow), 2)}


def compare(contenders: dict[str, dict]) -> None:
    """Adds to the figures of each other line how ours compares with it."""
    ours = contenders["ours"]
    for name in contenders.keys() - {"decode", "ours", "network"}:
        other = contenders[name]
        other["ours_fps"] = round(ours["fps"] / other["fps"], 2)
        other["ours_cpu"] = round(ours["cpu_ms"] / other["cpu_ms"], 2)


def machine() -> dict:
    info, cpu = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    for text in info.read_text().splitlines() if info.exists() else ():
        if text.startswith("model name"):
            cpu = text.partition(":")[2].strip()
    installed = {it.name: it.version for it in metadata.distributions()}
    versions = {name: installed[name] for name in LIBRARIES if name in installed}
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "os": platform.platform(terse=True),
        "versions": {"Python": platform.python_version()} | versions,
        "date": time.strftime("%Y-%m-%d"),
    }


def table(report: dict) -> str:
    """The report as aligned text."""
    here = report["machine"]
    lines = ["{cpu}, {os}, {date}".format(**here)]
    lines += [", ".join(f"{name} {it}" for name, it in here["versions"].items())]
    lines += [", ".join(f"{name} {it}" for name, it in report["settings"].items())]
    for size, at in report.get("sizes", {}).items():
        lines += ["", f"{size + ', ms per frame':<22}" + row(COLUMNS.values())]
        for name, got in at.items():
            lines.append(f"{name:<22}" + row(got.get(key, "-") for key in COLUMNS))
            for stage, took in got.get("stages", {}).items():
                lines.append(f"  {stage:<20}" + row(took.values()))
            if got.get("fully_blurred"):
                lines.append(f"  beware: {got['fully_blurred']} frames had no mask to trust")
    for size, got in report.get("live", {}).items():
        lines += ["", size, *(f"  {key:<20}{value}" for key, value in got.items())]
    return "\n".join(lines)


def row(values: Iterable[object]) -> str:
    return "".join(f"{value!s:>10}" for value in values)

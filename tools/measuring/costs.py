"""Lays out the results of `tools.measuring.bench` as Markdown."""

import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

from background_blur.statistics import STAGES
from tools.command import ToolError

LIBRARIES = ("numpy", "opencv-python", "av", "ai-edge-litert", "tensorflow")
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
COLUMNS = {  # name of the figure: heading of its column, and its format
    "fps": ("frames/s", "{:.0f}"),
    "cpu_ms": ("processor ms", "{:.1f}"),
    "peak_mb": ("peak MB", "{:.0f}"),
    "first_s": ("first, s", "{:.2f}"),
    "age_ms": ("age, 95 %, ms", "{:.0f}"),
    "dropped": ("dropped", "{:.0f}"),
    "fully_blurred": ("no mask", "{:.0f}"),
}


def merge(figures: Sequence[dict]) -> dict:
    """The median of each figure, including those by stage, over several rounds of a run."""
    first = figures[0]
    if "left out" in first:
        return first
    return {
        name: merge([it[name] for it in figures])
        if isinstance(value, dict)
        else round(median([it[name] for it in figures]), 2)
        for name, value in first.items()
    }


def machine() -> dict[str, str]:
    info, cpu = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    for text in info.read_text().splitlines() if info.exists() else ():
        if text.startswith("model name"):
            cpu = text.partition(":")[2].strip()
    versions = {it.name: it.version for it in metadata.distributions()}
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "os": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: versions[name] for name in LIBRARIES if name in versions},
        "date": time.strftime("%Y-%m-%d"),
    }


def table(report: dict) -> str:
    """Three tables for each size: the runs, their stages, and a comparison with the others."""
    here = report["machine"]
    told = ", ".join(f"{name} {it}" for name, it in here.items() if name not in ("cpu", "os"))
    parts = [f"{here['cpu']}, {here['os']}; {told}. Medians of {report['rounds']} rounds."]
    for size, runs in report["sizes"].items():
        known = {name: got for name, got in runs.items() if "left out" not in got}
        rows = [[name, *cells(got)] for name, got in known.items()]
        parts.append(markdown([size, *(head for head, _ in COLUMNS.values())], rows))
        staged = {name: got["stages"] for name, got in known.items() if "stages" in got}
        rows = [
            [name, *(f"{got[stage]:.1f}" if stage in got else "" for stage in STAGES)]
            for name, got in staged.items()
        ]
        parts.append(markdown(["ms per stage", *STAGES], rows))
        parts.append(markdown(["this relative to", "frames/s", "processor time"], compare(known)))
        parts += [f"{name} was skipped: {runs[name]['left out']}" for name in runs.keys() - known]
    return "\n\n".join(filter(None, parts))


def cells(got: dict) -> list[str]:
    return [form.format(got[key]) if key in got else "" for key, (_, form) in COLUMNS.items()]


def compare(runs: dict[str, dict]) -> list[list[str]]:
    """Our frame rate and processor time relative to each of the others."""
    rows = []
    for name, other in runs.items():
        ours = runs.get("this, " + name.partition(", ")[2])
        if ours and ours is not other and not name.startswith("this"):
            share = f"{ours['cpu_ms'] / other['cpu_ms']:.2f}"
            rows.append([name, f"{ours['fps'] / other['fps']:.2f}", share])
    return rows


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_into(page: Path, text: str) -> None:
    """Puts the text between the markers of a page. Raises ToolError if it has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ToolError(f"{page}: no {BEGIN} and {END} in it")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")

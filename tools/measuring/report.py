"""Tables of figures: means over pictures, one row per method and one block per section."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tools.measuring import metrics

FIGURES = {  # name in the JSON: (column heading, format)
    "pictures": ("n", "d"),
    "iou": ("IoU", ".4f"),
    "boundary_f": ("F", ".4f"),
    "mae": ("MAE", ".4f"),
    "leak": ("leak", ".4f"),
    "marked": ("marked", ".4f"),
    "over_1_percent": (">1%", ".3f"),
    "mad": ("MAD", ".2f"),
    "mse": ("MSE", ".2f"),
    "grad": ("Grad", ".2f"),
    "rim": ("rim", ".1f"),
    "dtssd": ("dtSSD", ".2f"),
    "flicker": ("flicker", ".2f"),
    "lag": ("lag", ".2f"),
    "worst_leak": ("worst leak", ".4f"),
    "most_leak": ("worst", ".4f"),
    "touching": ("touching", ".4f"),
    "most_touching": ("worst", ".4f"),
    "apart": ("apart", ".4f"),
    "most_apart": ("worst", ".4f"),
    "lost": ("lost", ".4f"),
    "error": ("error", ".2f"),
    "bleed": ("bleed", ".2f"),
}
MOST = ("most_leak", "most_touching", "most_apart")  # the worst of all pictures, not their mean

Figures = dict[str, float]
Rows = Iterable[tuple[str, str, Figures]]  # (group, method, figures of one picture or clip)
Section = dict[str, dict[str, Figures]]  # {group: {method: figures}}


def summed(rows: Rows) -> Section:
    """Summarises the rows of each group and method."""
    found: dict[str, dict[str, list[Figures]]] = {}
    for group, method, figures in rows:
        found.setdefault(group, {}).setdefault(method, []).append(figures)
    return {
        group: {method: {"pictures": len(rows)} | mean_of(rows) for method, rows in by.items()}
        for group, by in found.items()
    }


def mean_of(rows: list[Figures]) -> Figures:
    """The mean of each figure over the rows that have it; for those in MOST, the largest value."""
    means = {}
    for name in (name for name in FIGURES if any(name in row for row in rows)):
        values = np.array([row[name] for row in rows if name in row])
        values = values[~np.isnan(values)]
        most = name in MOST and values.size
        means[name] = float(values.max()) if most else metrics.mean(values)
    return means


def table(report: dict[str, Section]) -> str:
    """The report as text, one block per section, with aligned columns."""
    return "\n\n".join(f"{name}\n{block(groups)}" for name, groups in report.items())


def block(groups: Section) -> str:
    rows = [(group, name, row) for group, by in groups.items() for name, row in by.items()]
    columns = [name for name in FIGURES if any(name in row for _, _, row in rows)]
    cells, last = [["", "", *(FIGURES[name][0] for name in columns)]], None
    for group, method, row in rows:
        cells.append([group if group != last else "", method, *(cell(row, n) for n in columns)])
        last = group
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = "<<" + ">" * len(columns)
    return "\n".join(
        "  ".join(map(format, row, map("{}{}".format, sides, widths))).rstrip() for row in cells
    )


def cell(row: Figures, name: str) -> str:
    if name not in row or np.isnan(row[name]):
        return "-"
    return format(row[name], FIGURES[name][1])


def without_nan(value: Any) -> Any:
    """Replaces NaN, which JSON does not have, with null."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return None if np.isnan(value) else value

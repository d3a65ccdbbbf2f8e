"""Figures into a table: means over pictures, a row per method, a block per section."""

import numpy as np

from tools import metrics

FIGURES = {  # name in the JSON: (head of the column, format)
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
    "touching": ("touching", ".4f"),
    "apart": ("apart", ".4f"),
    "lost": ("lost", ".4f"),
}

Figures = dict[str, float]


def mean_of(rows: list[Figures]) -> Figures:
    """Means, figure by figure, over the rows that have it, and how many rows there are."""
    names = [name for name in FIGURES if any(name in row for row in rows)]
    values = {name: np.array([row[name] for row in rows if name in row]) for name in names}
    values = {name: v[~np.isnan(v)] for name, v in values.items()}
    return {"pictures": len(rows), **{name: metrics.mean(v) for name, v in values.items()}}


def table(report: dict) -> str:
    """The report as text, a block per section, columns aligned."""
    return "\n\n".join(f"{name}\n{block(groups)}" for name, groups in report.items())


def block(groups: dict) -> str:
    rows = [(group, name, row) for group, by in groups.items() for name, row in by.items()]
    columns = [name for name in FIGURES if any(name in row for _, _, row in rows)]
    cells = [["", "", *(FIGURES[name][0] for name in columns)]]
    for group, method, row in rows:
        first = method == next(iter(groups[group]))
        cells.append([group if first else "", method, *(cell(row, name) for name in columns)])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        texts = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
        texts += [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(texts).rstrip())
    return "\n".join(lines)


def cell(row: Figures, name: str) -> str:
    if name not in row or np.isnan(row[name]):
        return "-"
    return format(row[name], FIGURES[name][1])


def without_nan(value):
    """JSON has no NaN: null."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return None if np.isnan(value) else value

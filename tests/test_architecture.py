"""The import rule: app -> pipeline -> stages that do not import one another."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support import ROOT

DOORS = {"main", "blur", "model"}  # what users start or import: above the package
STAGES = {"capture", "matting", "rendering", "sinks"}
# What every stage may use, and the package itself, for how the program was called.
SHARED = {"errors", "frames", "media", "metadata", "settings", "imaging", "system", "paths"}
SHARED |= {"resources", "timing", "background_blur", "network", "options"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


FILES = {
    name_of(path): path for path in [*ROOT.glob("*.py"), *(ROOT / "background_blur").rglob("*.py")]
}


def imported(source: str, modules: set[str]) -> Iterator[str]:
    """Yields those of `modules` that the source imports anywhere, even inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports must be absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:  # "from package import name" may name a module or something in one
            yield from [found for found in (name, name.rpartition(".")[0]) if found in modules][:1]


GRAPH = {name: set(imported(path.read_text("utf-8"), set(FILES))) for name, path in FILES.items()}


def stage(name: str) -> str:
    """The part of the package that a module belongs to: "sinks" for background_blur.sinks.files."""
    return name.removeprefix("background_blur.").split(".")[0]


def test_no_module_imports_itself_by_way_of_others():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names them


def test_the_package_imports_none_of_the_files_above_it():
    assert not {(name, used) for name in GRAPH if name not in DOORS for used in GRAPH[name] & DOORS}


@pytest.mark.parametrize("here", sorted(STAGES))
def test_stages_import_only_themselves_and_what_all_may_use(here):
    used = {(name, u) for name in GRAPH if stage(name) == here for u in GRAPH[name]}
    assert not {(name, u) for name, u in used if stage(u) not in {here, *SHARED}}


def test_what_all_may_use_uses_nothing_else():
    used = {(name, u) for name in GRAPH if stage(name) in SHARED for u in GRAPH[name]}
    assert not {(name, u) for name, u in used if stage(u) not in SHARED}


def test_imports_are_found_wherever_they_stand():
    source = "import a.b\ndef f():\n    from a import c\n    from a.b import thing, cv2\n"
    assert list(imported(source, {"a", "a.b", "a.c"})) == ["a.b", "a.c", "a.b", "a.b"]


def test_an_old_python_can_read_main_far_enough_to_say_so():
    tree = ast.parse(FILES["main"].read_text("utf-8"), feature_version=(3, 8))
    first = next(n for n in tree.body if isinstance(n, ast.ImportFrom))
    assert any(isinstance(n, ast.If) and n.lineno < first.lineno for n in tree.body)

"""What gets installed is the whole program, and it runs from anywhere."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import cv2
import pytest

from background_blur import __version__, requirements
from background_blur.errors import UserError
from support import ROOT

OFFLINE = "NewConnectionError|ConnectionError|ReadTimeoutError|getaddrinfo|Name or service"


def run(*command: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The commands folder of a fresh environment with the locked packages and the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", commands / "python", "install", "--no-compile"]
    locked = run(*pip, "--require-hashes", "-r", ROOT / "requirements-run.txt")
    if locked.returncode and re.search(OFFLINE, locked.stderr) and not os.environ.get("CI"):
        pytest.skip("the packages cannot be downloaded: offline")
    assert locked.returncode == 0, locked.stderr
    added = run(*pip, "--no-deps", wheel)
    assert added.returncode == 0, added.stderr
    return commands


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty folder, far from the sources, as the working directory."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_the_program_its_weights_and_the_portrait(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / "background_blur").rglob("*.py")}
    data = {"py.typed", "weights/person.tflite", "weights/SHA256SUMS", "assets/portrait.jpg"}
    assert names >= sources | {f"background_blur/{name}" for name in data}
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"background_blur"} and "background_blur/weights/person.weights.h5" not in names
    assert wheel.stat().st_size < 6_000_000
    assert not {name for name in names if "__pycache__" in name or name.startswith("tests")}
    assert f"\nVersion: {__version__}\n" in metadata


@pytest.mark.slow
def test_the_installed_command_blurs_a_photo(installed, elsewhere):
    shutil.copy(ROOT / "assets" / "portrait.jpg", "me.jpg")
    command = [installed / "background-blur", "--no-window"]
    done = run(*command, "--source", "me.jpg", "--output", "out.png")
    assert done.returncode == 0, done.stderr
    before, after = cv2.imread("me.jpg"), cv2.imread("out.png")
    assert before is not None and after is not None
    assert cv2.Laplacian(after[:100, :80], cv2.CV_64F).var() * 4 < (
        cv2.Laplacian(before[:100, :80], cv2.CV_64F).var()
    )
    assert {p.name for p in elsewhere.iterdir()} == {"me.jpg", "out.png"}


@pytest.mark.slow
def test_the_module_the_library_and_the_demo_are_installed_too(installed, elsewhere):
    python = installed / "python"
    for command in ([python, "-m", "background_blur"], [installed / "background-blur"]):
        version = run(*command, "--version")
        assert version.stdout == f"background-blur {__version__}\n", version.stderr
    script = (
        "from background_blur import BackgroundBlur;"
        "from background_blur.capture import open_source;"
        "frame = next(iter(open_source('demo'))); print(BackgroundBlur()(frame).image.shape[2])"
    )
    assert run(python, "-c", script).stdout == "3\n"


def test_without_its_packages_it_says_in_one_line_how_to_install_them(tmp_path):
    bare = [sys.executable, "-S", "-E", ROOT / "main.py"]  # -S: without site-packages
    result = run(*bare, "--source", "demo", "--no-window", cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert re.fullmatch(r"main\.py: .*opencv-python.*(make run|main\.py)\b.*\n", result.stderr)
    assert run(*bare, "--help").returncode == 0


def test_a_missing_package_is_named_with_the_environment_that_has_it(tmp_path, monkeypatch):
    monkeypatch.setitem(requirements.PACKAGES, "no-such-package", "no_such_package")
    monkeypatch.setattr(requirements, "ROOT", tmp_path)
    with pytest.raises(UserError, match="^no-such-package not installed; run `make run`"):
        requirements.require_packages()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    with pytest.raises(UserError, match="run .venv.bin.python main.py"):
        requirements.require_packages()


def test_an_old_python_is_told_which_one_is_needed(tmp_path):
    old = "import sys, runpy; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1])"
    result = run(sys.executable, "-c", old, ROOT / "main.py", cwd=ROOT)
    assert result.returncode == 1
    assert result.stderr.startswith("main.py: needs Python 3.11 or later, this is 3.9;")
    assert result.stderr.count("\n") == 1


def test_every_dependency_is_looked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split("[><=~;]", text)[0] for text in project["dependencies"]}
    assert wanted == requirements.PACKAGES.keys()


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")
@pytest.mark.parametrize("code, ends_well", [(0, True), (130, True), (1, False), (2, False)])
def test_make_run_takes_ctrl_c_for_a_good_end_and_nothing_else(tmp_path, code, ends_well):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexit {code}\n")
    python.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements-run.txt").touch()
    (tmp_path / ".venv" / "run").touch()
    made = run("make", "run", cwd=tmp_path)
    assert ((made.returncode, made.stderr) == (0, "")) == ends_well, made.stderr

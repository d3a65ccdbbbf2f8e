"""The documents agree with the program and with one another."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import pytest

from background_blur.cli import parser
from background_blur.keys import KEYS
from support import ROOT

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*.md")])
FOR_USERS = ["README.md", "docs/calls.md", "docs/troubleshooting.md", "docs/files.md"]
FLAGS = {flag for action in parser()._actions for flag in action.option_strings}


def test_the_readme_lists_every_flag_and_no_other():
    rows = re.findall(r"^\| (`--.+?) \| ", README, re.MULTILINE)
    listed = re.findall("--[a-z-]+", " ".join(rows))
    assert sorted(listed) == sorted(flag for flag in FLAGS if flag.startswith("--"))


@pytest.mark.parametrize("name", FOR_USERS)
def test_documents_name_no_flag_key_or_command_that_there_is_not(name):
    text = (ROOT / name).read_text("utf-8")
    for command in re.findall(r"(?:python main\.py|background-blur(?= --))([^`\n]*)", text):
        words = shlex.split(command, comments=True)
        parser().parse_args([word for word in words if not word.startswith("@")])
    assert set(re.findall("`(--[a-z-]+)", text)) <= FLAGS
    assert set(re.findall("`([a-z+-]|space)`", text)) <= KEYS.keys()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    text = path.read_text("utf-8")
    for link in re.findall(r"\]\((?!https?://)(.+?)\)", text):
        file, _, section = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if section:
            titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert section in {re.sub(r"[^\w\- ]", "", t).lower().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_code_are_those_of_files(path: Path):
    text = path.read_text("utf-8")
    for name in re.findall(r"`((?:background_blur|tests|tools|docs)/[\w./*-]+)`", text):
        assert list(ROOT.glob(name.rstrip("/"))), name


def test_make_targets_that_the_documents_name_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for path in DOCUMENTS:
        for target in re.findall(r"`make ([a-z]+)", path.read_text("utf-8")):
            assert f"\n{target}:" in makefile, (path.name, target)


def test_the_library_example_of_the_readme_runs(tmp_path):
    example = README.partition("```python\n")[2].partition("```")[0]
    picture = cv2.imread(str(ROOT / "assets" / "portrait.jpg"))
    cv2.imwrite(str(tmp_path / "me.jpg"), picture)
    cv2.imwrite(str(tmp_path / "beach.jpg"), picture[::-1])
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    person, reason, seconds = done.stdout.splitlines()
    assert 0.1 < float(person) < 0.9 and reason == "None" and "segment" in seconds
    assert (tmp_path / "out.jpg").stat().st_size > 1000


def test_the_versions_of_python_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11" and "Python 3.11 to 3.14" in README
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert re.findall(r'"(3\.\d+)"', workflow)[:4] == ["3.11", "3.12", "3.13", "3.14"]

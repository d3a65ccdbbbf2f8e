"""What gets installed is what was locked."""

import re
import tomllib

import pytest

from support import ROOT


def locked(name: str) -> dict[str, str]:
    """The lines of each package and version in a requirements file."""
    text = (ROOT / name).read_text()
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    return {block.split(" ")[0]: block for block in blocks}


@pytest.mark.parametrize(
    "name, group", [("requirements-run.txt", "run"), ("requirements.txt", "all")]
)
def test_every_package_has_its_version_and_hashes_and_comes_from_nowhere_else(name, group):
    packages = locked(name)
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert packages.keys() >= {pin for pin in chosen[group] if isinstance(pin, str)}
    for package, block in packages.items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", package)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", block, re.MULTILINE)
    assert "://" not in (ROOT / name).read_text()


def test_the_program_runs_with_the_packages_that_it_is_tested_with():
    assert locked("requirements-run.txt").items() <= locked("requirements.txt").items()

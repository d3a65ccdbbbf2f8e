"""What gets installed is what was locked."""

import re
import tomllib

import pytest

from support import ROOT

FILES = {  # and the extras and groups that each adds to what the program needs
    "requirements-run.txt": [],
    "requirements-call.txt": ["call"],
    "requirements.txt": ["call", "keras", "dev"],
}


def locked(name: str) -> dict[str, str]:
    """The lines of each package and version in a requirements file."""
    text = (ROOT / name).read_text()
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    return {block.split(" ")[0]: block for block in blocks}


@pytest.mark.parametrize("name, extras", FILES.items())
def test_every_package_has_its_version_and_hashes_and_comes_from_nowhere_else(name, extras):
    packages = locked(name)
    toml = tomllib.loads((ROOT / "pyproject.toml").read_text())
    more = toml["project"]["optional-dependencies"] | toml["dependency-groups"]
    wanted = list(toml["project"]["dependencies"])
    for extra in extras:
        wanted += more[extra]
    assert {p.partition("==")[0] for p in packages} >= {re.split(r"[\[>]", w)[0] for w in wanted}
    for package, block in packages.items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", package)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", block, re.MULTILINE)
    assert "://" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["requirements-call.txt", "requirements.txt"])
def test_the_program_runs_with_the_packages_that_it_is_tested_with(name):
    assert locked("requirements-run.txt").items() <= locked(name).items()

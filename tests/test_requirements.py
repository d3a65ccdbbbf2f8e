"""The program runs with the packages that it is tested with."""

import re

import pytest

from support import ROOT


def locked(name: str) -> dict[str, str]:
    """The lines of each package and version in a requirements file."""
    text = (ROOT / name).read_text()
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    return {block.split(" ")[0]: block for block in blocks}


@pytest.mark.parametrize("name", ["requirements-call.txt", "requirements.txt"])
def test_the_program_runs_with_the_packages_that_it_is_tested_with(name):
    assert locked("requirements-run.txt").items() <= locked(name).items()

"""The service accepts the hosted CI's files."""

import subprocess
import sys

import pytest

from support import ROOT


@pytest.mark.slow
def test_the_workflows_are_valid():
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.github-workflows"]
    command += [str(file) for file in (ROOT / ".github" / "workflows").glob("*.yml")]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr

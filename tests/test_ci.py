"""The hosted CI's file is one that the service accepts."""

import subprocess
import sys

import pytest

from support import ROOT


@pytest.mark.slow
def test_the_workflow_is_valid():
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr

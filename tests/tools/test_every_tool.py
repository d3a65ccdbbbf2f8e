"""What holds for the tools all alike."""

import importlib
import re

import pytest
from tools.dataset import read_image, read_photo

from support import ROOT

TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py") if path.stem != "__init__")


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLS)
def test_it_can_be_imported(name):
    importlib.import_module(f"tools.{name}")


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_damaged_photograph_is_named(tmp_path, content):
    path = tmp_path / "selfie_0.jpg"
    if content is not None:
        path.write_bytes(content)
    for read in (read_image, read_photo):
        with pytest.raises(OSError, match=re.escape(str(path))):
            read(path)

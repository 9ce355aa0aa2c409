"""The listing of docs/streams.md prints what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.processes
def test_the_listing_prints_what_the_page_shows(tmp_path: Path) -> None:
    (listing,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    script = tmp_path / "feed.py"
    script.write_text(listing, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", shown) == (done.returncode, done.stderr, done.stdout)

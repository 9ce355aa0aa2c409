"""The listing of a page prints what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "arrays",
    "deadlines",
    "delivery",
    "discovery",
    "groups",
    "hosts",
    "http",
    "interceptors",
    "interfaces",
    "leaky",
    "lifecycle",
    "limits",
    "reads",
    "references",
    "replicated",
    "security",
    "streams",
)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("page", PAGES)
def test_the_listing_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    (listing,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    script = tmp_path / "listing.py"
    script.write_text(listing, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert sorted(shown.splitlines()) == sorted(done.stdout.splitlines())

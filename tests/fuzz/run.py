"""Look for inputs that break a parser: `python -m tests.fuzz.run --seconds 60`.

Each target runs in a process of its own with atheris, which follows the branches of liferaft's
code, from the examples and the corpus on. Exit status 1 says that something was found; the input
lies in a file then, and `--target NAME --input FILE` runs it again. With `--keep`, inputs that
reached what no other does are added to the corpus, the smallest ones first.
"""

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FINDINGS = Path(".fuzz")
KEPT_FILES_MAX = 60
KEPT_FILE_BYTES_MAX = 1024
"""What is kept of one target's corpus: it is run in every test run, and lies in the repository."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 when nothing was found, 1 when something was, 2 when there is no atheris."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--input", type=Path, help="run this one file instead")
    parser.add_argument("--keep", action="store_true", help="add what was found to the corpus")
    options = parser.parse_args(arguments)
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    if options.input is not None:
        for target in chosen:
            target.try_on(options.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not there: python -m pip install --group fuzz", file=sys.stderr)
        return 2
    results = [fuzz(target, options.seconds, keep=options.keep) for target in chosen]
    return int(not all(results))


def fuzz(target: Target, seconds: int, *, keep: bool) -> bool:
    """Fuzz one target for so many seconds; print what came; return whether it held."""
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        found, seeds = Path(scratch) / "found", Path(scratch) / "seeds"
        found.mkdir()
        seeds.mkdir()
        _write_all(seeds, [*target.examples(), *known_inputs(target.name)])
        log = FINDINGS / f"{target.name}.log"
        status = _run_child(
            target,
            log,
            f"-max_total_time={seconds}",
            f"-artifact_prefix={FINDINGS}/{target.name}-",
            "-print_final_stats=1",
            str(found),
            str(seeds),
        )
        print(_summary(target, log, status), flush=True)
        if keep and status == 0:
            _keep(target, found, seeds)
    return status == 0


def known_inputs(target_name: str) -> list[bytes]:
    """Return the corpus of a target, in the order of its names."""
    return [path.read_bytes() for path in sorted((CORPUS / target_name).glob("*"))]


def _run_child(target: Target, log: Path, *options: str) -> int:
    command = [sys.executable, "-m", "tests.fuzz.child", target.name, *options]
    with log.open("wb") as output:
        return subprocess.run(command, check=False, stdout=output, stderr=output).returncode


def _summary(target: Target, log: Path, status: int) -> str:
    text = log.read_text(errors="replace")
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)
    memory = re.findall(r"stat::peak_rss_mb:\s*(\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    parts = [
        f"{target.name:14}",
        f"{int(runs[-1]) if runs else 0:>10,} inputs",
        f"{coverage[-1] if coverage else '?':>6} branches",
        f"{memory[-1] if memory else '?':>4} MB",
    ]
    if status:
        files = re.findall(r"Test unit written to (\S+)", text)
        where = files[-1] if files else str(log)
        error = re.findall(r"^(?:\w+\.)*\w+(?:Error|Broken|Violated)\b.*$", text, re.MULTILINE)
        parts.append(f"BROKEN: {error[0] if error else 'see ' + str(log)}; run it again with")
        parts.append(f"python -m tests.fuzz.run --target {target.name} --input {where}")
    return "  ".join(parts)


def _keep(target: Target, found: Path, seeds: Path) -> None:
    """Add to the corpus the fewest and smallest inputs that reach all that was reached."""
    with tempfile.TemporaryDirectory() as scratch:
        merged = Path(scratch)
        log = FINDINGS / f"{target.name}-merge.log"
        _run_child(target, log, "-merge=1", scratch, str(seeds), str(found))
        fitting = [
            data
            for data in sorted((path.read_bytes() for path in merged.iterdir()), key=len)
            if len(data) <= KEPT_FILE_BYTES_MAX
        ]
    corpus = CORPUS / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    known = known_inputs(target.name)
    fresh = [data for data in fitting if data not in known]
    _write_all(corpus, fresh[: max(0, KEPT_FILES_MAX - len(known))])


def _write_all(directory: Path, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        name = hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]
        (directory / name).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command `liferaft`: finds the verb, runs it, and turns what it raises into an exit status.

Verbs are imported only when they are asked for. A verb returns its exit status and raises
`LiferaftError` for what went wrong; it never prints an error of its own and never calls `sys.exit`.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, NoReturn

from liferaft.cli.exits import ExitStatus, sentence_of, status_of
from liferaft.errors import LiferaftError

VERBS: Final = {
    "bench": "liferaft.cli.bench:bench",
    "call": "liferaft.cli.call:call",
    "certs": "liferaft.cli.certs:certs",
    "check": "liferaft.cli.check:check",
    "chaos": "liferaft.cli.chaos:chaos",
    "demo": "liferaft.cli.demo:demo",
    "describe": "liferaft.cli.describe:describe",
    "groups": "liferaft.cli.groups:groups",
    "http": "liferaft.cli.http:http",
    "leaky": "liferaft.cli.leaky:leaky",
    "member": "liferaft.cli.member:member",
    "node": "liferaft.cli.node:node",
    "recover": "liferaft.cli.recover:recover",
    "shell": "liferaft.cli.shell:shell",
    "sim": "liferaft.cli.sim:sim",
    "snapshot": "liferaft.cli.snapshot:snapshot",
    "transfer": "liferaft.cli.member:transfer",
    "wal": "liferaft.cli.wal:wal",
}
"""Where each verb's function lives."""


def main() -> NoReturn:
    """Run the command that the process was started with, and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; what went wrong is one line on stderr."""
    try:
        return _run(arguments)
    except LiferaftError as error:
        return _fail(sentence_of(error), status_of(error))
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does. Nothing is to be said, and the flush
        # at the interpreter's end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.NEGATIVE
    except OSError as error:
        return _fail(sentence_of(error), ExitStatus.USAGE)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    try:
        from cyclopts import App, CycloptsError, Parameter  # noqa: PLC0415 - an optional extra
    except ImportError:
        hint = "the command line needs two more packages: pip install 'liferaft[cli]'"
        return _fail(hint, ExitStatus.USAGE)
    app = App(
        name="liferaft",
        help="Remote objects for Python, and the consensus that keeps them alive.",
        version=f"liferaft {version('liferaft')}",
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    for name, verb in VERBS.items():
        app.command(verb, name=name)
    try:
        status = app(arguments)
    except CycloptsError as error:
        hint = f"{sentence_of(error).rstrip('.')}: see liferaft --help"
        return _fail(hint, ExitStatus.USAGE)
    # Help and the version are printed by cyclopts, which returns nothing.
    return ExitStatus.OK if status is None else int(status)


def _fail(sentence: str, status: ExitStatus) -> int:
    print(f"liferaft: {sentence}", file=sys.stderr)
    return status

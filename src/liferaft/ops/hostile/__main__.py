"""Attack a host of our own and tell what came of it: `python -m liferaft.ops.hostile --seconds 60`.

Exit status 0 when every attack was borne: all honest calls succeeded, half of their throughput was
kept, and the host's memory grew by less than 100 MB; otherwise 1.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

import msgspec

from liferaft.ops.hostile.attacks import ATTACKS, Target
from liferaft.ops.hostile.measure import Outcome, attack, measure, serve, table
from liferaft.ops.hosting import new_event_loop


def main(arguments: Sequence[str]) -> int:
    """Measure; or be the host, or the attackers, that the measuring starts."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if arguments[:1] == ["host"]:
            return runner.run(_host())
        if arguments[:1] == ["attack"]:
            target = msgspec.json.decode(arguments[2], type=Target)
            return runner.run(_attack(arguments[1], target))
        return runner.run(_measure_all(_options(arguments)))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m liferaft.ops.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each attack")
    parser.add_argument("--attack", action="append", choices=list(ATTACKS), help="only these")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


async def _measure_all(options: argparse.Namespace) -> int:
    outcomes: list[Outcome] = []
    for name in options.attack or ATTACKS:
        outcomes.append(await measure(name, options.seconds))
        if not options.json:
            _say(table(outcomes[-1:]))
    if options.json:
        rows = [
            {**msgspec.to_builtins(outcome), "kept": outcome.kept, "is_borne": outcome.is_borne}
            for outcome in outcomes
        ]
        _say(msgspec.json.encode({"outcomes": rows}).decode())
    return int(not all(outcome.is_borne for outcome in outcomes))


async def _host() -> int:
    ended = _stdin_ended()
    address = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(serve(ended, address))
    _say(await address)
    await serving
    return 0


async def _attack(name: str, target: Target) -> int:
    _say(str(await attack(name, target, _stdin_ended(), lambda: _say("begun"))))
    return 0


def _stdin_ended() -> asyncio.Event:
    """Return what is set when whoever started this process has ended, or wants it to end."""
    ended = asyncio.Event()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            ended.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), look)
    return ended


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command prints


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

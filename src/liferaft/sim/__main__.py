"""Repeat one simulation: `python -m liferaft.sim --seed 17`."""

import argparse
import sys

import msgspec

from liferaft.sim.run import SimulationFailed, simulate


def main() -> int:
    """Run it, print what it did as JSON, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m liferaft.sim", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    try:
        result = simulate(
            arguments.seed,
            nodes=arguments.nodes,
            clients=arguments.clients,
            seconds=arguments.seconds,
        )
    except SimulationFailed as failure:
        print(failure, file=sys.stderr)  # noqa: T201 - a command prints
        return 1
    print(msgspec.json.encode(result).decode())  # noqa: T201 - a command prints
    return 0


if __name__ == "__main__":
    sys.exit(main())

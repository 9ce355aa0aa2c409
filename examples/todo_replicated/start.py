"""Starts the three nodes of a replicated to-do list, each with the command that it prints.

    python start.py                        # data in ./todo-data, ports 7401 to 7403

Ctrl-C stops them. Started again, they go on with what they had.
"""

import argparse
import contextlib
import shlex
import signal
import subprocess
import sys
from pathlib import Path


def node_command(node: str, peers: str, data: Path) -> list[str]:
    """Return the command that runs one node."""
    command = [sys.executable, "-m", "liferaft", "node", "--id", node, "--peers", peers]
    return [*command, "--data", str(data / node), "--object", "Todo=liferaft.recipes.todo:TodoList"]


def main() -> None:
    """Run the nodes until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Start three nodes of a to-do list.")
    parser.add_argument("--data", type=Path, default=Path("todo-data"))
    parser.add_argument("--ports", type=int, nargs=3, default=[7401, 7402, 7403])
    options = parser.parse_args()
    addresses = {f"n{n}": f"127.0.0.1:{port}" for n, port in enumerate(options.ports, start=1)}
    peers = ",".join(f"{node}={address}" for node, address in addresses.items())

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        for node in addresses:
            command = node_command(node, peers, options.data)
            print(shlex.join(command), flush=True)
            process = stack.enter_context(subprocess.Popen(command))  # noqa: S603 - our own words
            stack.callback(process.terminate)
        print(f"clients may use {','.join(addresses.values())}; Ctrl-C stops", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()

"""Hosts one to-do list for everybody, behind a link that may leak on purpose.

python server.py                       # a good network
python server.py --loss 0.3            # loses three frames in ten, in both directions
"""

import argparse
import contextlib
import signal

import liferaft
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork
from liferaft.recipes.todo import Todo, TodoList


def main() -> None:
    """Serve the list until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Host a shared to-do list.")
    parser.add_argument("--address", default="127.0.0.1:7400")
    parser.add_argument("--loss", type=float, default=0.0, help="frames lost, 0 to 1")
    parser.add_argument("--duplicate", type=float, default=0.0, help="frames repeated, 0 to 1")
    parser.add_argument("--delay", type=float, default=0.0, help="longest delay in seconds")
    parser.add_argument("--seed", type=int, default=1, help="where the chances come from")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as polite as Ctrl-C
    leak = Leak(loss=options.loss, duplicate=options.duplicate, delay_max=options.delay)
    network = LeakyNetwork(SystemNetwork(), seed=options.seed, outgoing=leak, incoming=leak)
    try:
        with liferaft.serve(TodoList(), Todo, options.address, network=network) as stub:
            print(f"the list is served at {stub.address}; Ctrl-C stops it", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
            print(f"{stub.calls_served} calls were served")
    except liferaft.AddressError as error:
        raise SystemExit(f"server.py: {error}") from None


if __name__ == "__main__":
    main()

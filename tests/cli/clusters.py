"""A cluster of real processes, as the tests of several verbs need one."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from liferaft.ops.processes import free_addresses
from tests.running import output_of, running

TODO = "Todo=liferaft.recipes.todo:TodoList"
DEADLINE = 60.0


class Cluster:
    """Three nodes, and two addresses more for those that join."""

    def __init__(self, directory: Path, stack: ExitStack, *options: str) -> None:
        self.addresses = dict(zip(("n1", "n2", "n3", "n4", "n5"), free_addresses(5), strict=True))
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.directory = directory
        self._options = options
        self._stack = stack
        for node in ("n1", "n2", "n3"):
            self.start(node)

    @property
    def contacts(self) -> str:
        return ",".join(self.addresses[node] for node in ("n1", "n2", "n3"))

    def start(self, node: str, *options: str) -> None:
        names = {"n1", "n2", "n3", node}
        peers = ",".join(f"{name}={self.addresses[name]}" for name in sorted(names))
        command = [sys.executable, "-m", "liferaft", "node", "--id", node, "--peers", peers]
        command += ["--data", str(self.directory / node), "--object", TODO]
        command += [*self._options, *options]
        process = self._stack.enter_context(
            running(*command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        )
        assert "listens on" in output_of(process).readline()
        self.processes[node] = process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "liferaft", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE
        )

    def kill(self, node: str) -> None:
        """End a node at once, and wait until it is gone."""
        self.processes[node].kill()
        self.processes[node].wait(DEADLINE)

    def member(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("member", verb, self.contacts, *arguments)

    def kinds(self) -> dict[str, str]:
        """Return what each member is; empty while there is no leader."""
        answer = self.member("list", "--json")
        if answer.returncode:
            return {}
        listed = json.loads(answer.stdout)["members"]
        return {each["node_id"]: "leader" if each["is_leader"] else each["kind"] for each in listed}

    def wait_for(self, voters: set[str], leader: str = "") -> dict[str, str]:
        """Wait until these and no others vote, and somebody, or this one, leads them."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            kinds = self.kinds()
            leads = [node for node, kind in kinds.items() if kind == "leader"]
            others = set(kinds.values()) - {"voter", "leader"}
            if set(kinds) == voters and leads and not others and leader in ("", *leads):
                return kinds
        raise AssertionError(f"the members are {self.kinds()}, not {voters}")


def leader_of(kinds: dict[str, str]) -> str:
    return next(node for node, kind in kinds.items() if kind == "leader")

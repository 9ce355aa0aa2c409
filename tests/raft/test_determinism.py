"""The same events give the same effects, always: whatever seed strings are hashed with."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec

PROGRAM = """
from tests.raft.test_determinism import tape_digest
print(tape_digest())
"""


def tape_digest() -> str:
    """Return a digest of all effects of all nodes in a run with faults, byte for byte."""
    from tests.raft.test_random_runs import RandomRun

    run = RandomRun(5, seed=11)
    run.go()
    run.heal()
    digest = hashlib.sha256()
    effects = [node.effects for node in run.cluster.nodes.values()]
    assert all(effects)
    for of_node in effects:
        for effect in of_node:
            digest.update(type(effect).__name__.encode())
            digest.update(msgspec.msgpack.encode(effect))
    return digest.hexdigest()


def digest_in_a_process(hash_seed: str) -> str:
    """Return the digest that a fresh interpreter computes."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.strip()


def test_effects_do_not_depend_on_the_hash_seed() -> None:
    digests = {digest_in_a_process("1"), digest_in_a_process("2"), tape_digest()}

    assert 1 == len(digests)

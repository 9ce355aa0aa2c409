"""The registry: every parser of bytes from outside. A new one is added to `TARGETS`, here.

`python -m tests.fuzz.run` looks for new inputs; test_corpus.py tries the known ones in every run
of the tests.
"""

from tests.fuzz import (
    check_targets,
    description_targets,
    other_targets,
    raft_targets,
    rpc_targets,
    storage_targets,
    stream_targets,
)
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *rpc_targets.TARGETS,
        *stream_targets.TARGETS,
        *raft_targets.TARGETS,
        *storage_targets.TARGETS,
        *other_targets.TARGETS,
        *check_targets.TARGETS,
        *description_targets.TARGETS,
    )
}

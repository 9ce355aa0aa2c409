"""Histories of anybody's, in each of the formats that the checker reads."""

import atexit
import tempfile
from collections.abc import Iterable
from pathlib import Path

from liferaft.check.history import HistoryError
from liferaft.check.linearizability import check
from liferaft.check.models import MODELS, model_named
from liferaft.check.reading import read_history
from tests.fuzz.target import Target

_directory = tempfile.TemporaryDirectory()
atexit.register(_directory.cleanup)
_FILE = Path(_directory.name) / "history"


def run_history(data: bytes) -> None:
    """The bytes are a file, and what it holds is judged by each model that takes it."""
    _FILE.write_bytes(data)
    operations = read_history(_FILE)
    for name in MODELS:
        try:
            check(model_named(name), operations[:20], timeout=0.05, memory_bytes=10_000_000)
        except HistoryError:
            continue


def histories() -> Iterable[bytes]:
    """Return a small history in each format."""
    yield (
        b'{"process": 1, "type": "invoke", "f": "put", "key": "k", "value": "v", "time": 1}\n'
        b'{"process": 2, "type": "invoke", "f": "get", "key": "k", "value": null, "time": 2}\n'
        b'{"process": 1, "type": "ok", "f": "put", "key": "k", "value": "v", "time": 3}\n'
        b'{"process": 2, "type": "ok", "f": "get", "key": "k", "value": "v", "time": 4}\n'
    )
    yield (
        b"INFO  jepsen.util - 0\t:invoke\t:write\t3\n"
        b"INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]\n"
        b"INFO  jepsen.util - 0\t:ok\t:write\t3\n"
        b"INFO  jepsen.util - 1\t:info\t:cas\t:timed-out\n"
    )
    yield (
        b'{:process 0, :type :invoke, :f :append, :key "0", :value "x"}\n'
        b'{:process 0, :type :ok, :f :append, :key "0", :value "x"}\n'
        b'{:process 1, :type :invoke, :f :get, :key "0", :value nil}\n'
        b'{:process 1, :type :ok, :f :get, :key "0", :value "x"}\n'
    )


TARGETS = (Target("histories", run_history, (HistoryError,), histories),)

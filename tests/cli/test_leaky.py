"""`liferaft leaky` as a process before a web server of the standard library."""

import http.server
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from liferaft.cli import main
from liferaft.cli.exits import ExitStatus
from tests.running import output_of, running


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers every request with the path that it asks for."""

    def do_GET(self) -> None:
        body = self.path.encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@pytest.fixture
def web_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_web_server_behind_it_answers_and_it_ends_when_it_is_told(
    number: signal.Signals, web_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (
        sys.executable, "-m", "liferaft", "leaky", "127.0.0.1:0", web_server,
        "--delay", "0.001", "--jitter", "0.001", "--control", "127.0.0.1:0",
    )  # fmt: skip
    with running(*command, stderr=subprocess.PIPE) as process:
        control = output_of(process).readline().rpartition(" ")[2].strip()
        address = output_of(process).readline().partition(" ")[0]
        with urllib.request.urlopen(f"http://{address}/x", timeout=30) as answer:
            assert b"/x" * 1000 == answer.read()
        assert 0 == main.run(["call", control, "leaky.set", "--delay", "0"])
        assert 0 == main.run(["call", control, "leaky.status"])
        process.send_signal(number)
        assert 0 == process.wait(timeout=30)

    status = json.loads(json.loads(capsys.readouterr().out.splitlines()[1]))
    assert 1 == status["connections_made"]
    assert 0 == status["conditions"]["delay"]


@pytest.mark.parametrize("option", ["--loss", "--duplicate", "--reorder"])
def test_what_cannot_be_done_to_bytes_is_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main.run(["leaky", "127.0.0.1:0", "127.0.0.1:1", option, "0.1"])

    assert ExitStatus.USAGE == status
    assert "for frames of liferaft's own protocol only (--frames)" in capsys.readouterr().err

"""`liferaft certs`, and commands that show what it made."""

import json
from pathlib import Path
from typing import Protocol

import pytest

import liferaft
from liferaft.cli import main
from liferaft.cli.exits import ExitStatus


class Greeter(Protocol):
    def greet(self, name: str) -> str: ...


class GreeterObject:
    def greet(self, name: str) -> str:
        return f"hello {name}"


def test_certificates_and_tokens_made_here_open_the_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(tmp_path)
    assert 0 == main.run(["certs", "authority", directory])
    assert 0 == main.run(["certs", "issue", directory, "host", "--host", "127.0.0.1"])
    assert 0 == main.run(["certs", "token"])
    authority, _, token = capsys.readouterr().out.split()
    (tmp_path / "tokens.json").write_text(json.dumps({token: []}))
    (tmp_path / "token").write_text(token)
    tls = liferaft.Tls(certificate=str(tmp_path / "host.crt"), key=str(tmp_path / "host.key"))
    tokens = liferaft.Tokens.from_file(tmp_path / "tokens.json")

    with liferaft.serve(GreeterObject(), Greeter, "127.0.0.1:0", tls=tls, tokens=tokens) as host:
        call = ["call", host.address, "greet", "you", "--tls-authority", authority]
        assert 0 == main.run([*call, "--token-file", str(tmp_path / "token")])
        assert ExitStatus.REFUSED == main.run(call)
        monkeypatch.setenv("LIFERAFT_TOKEN", token)
        assert 0 == main.run(call)
        assert 0 == main.run(["describe", host.address, "--tls-authority", authority])

    told = capsys.readouterr()
    assert 2 == told.out.count('"hello you"')
    assert "class Greeter(Protocol)" in told.out
    assert "with a token only" in told.err
    assert token not in told.out + told.err


def test_nothing_is_overwritten_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = str(tmp_path)
    assert ExitStatus.USAGE == main.run(["certs", "issue", directory, "host"])
    assert 0 == main.run(["certs", "authority", directory])
    assert ExitStatus.USAGE == main.run(["certs", "authority", directory])
    assert 0 == main.run(["certs", "authority", directory, "--force"])
    assert "make one with `liferaft certs authority`" in capsys.readouterr().err

"""Tokens and roles: who may call what, and that no secret shows anywhere."""

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import ConfigurationError, PermissionDenied, Unauthenticated
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.access import Tokens, new_token, read_token
from tests.rpc.objects import connection_of

pytestmark = pytest.mark.looptime(noop_cycles=0)

READER, WRITER, NOBODY = "reader-" + "r" * 20, "writer-" + "w" * 20, "nobody-" + "n" * 20
TOKENS = {READER: ["read"], WRITER: ["read", "write"], NOBODY: []}


class Page(Protocol):
    async def text(self) -> str: ...


@liferaft.role("read", "write")
class Wiki(Protocol):
    async def read(self) -> str: ...
    @liferaft.role("write")
    async def write(self, text: str) -> None: ...
    @liferaft.role("write")
    @liferaft.oneway
    async def shout(self, text: str) -> None: ...
    @liferaft.role("write")
    def history(self) -> AsyncIterator[str]: ...
    @liferaft.role()
    async def hello(self) -> str: ...
    async def page(self) -> Page: ...


class PageObject:
    async def text(self) -> str:
        return "page"


class WikiObject:
    def __init__(self) -> None:
        self.texts: list[str] = []

    async def read(self) -> str:
        return self.texts[-1] if self.texts else ""

    async def write(self, text: str) -> None:
        self.texts.append(text)

    async def shout(self, text: str) -> None:
        self.texts.append(text.upper())

    async def history(self) -> AsyncIterator[str]:
        for text in self.texts:
            yield text

    async def hello(self) -> str:
        return "hello"

    async def page(self) -> PageObject:
        return PageObject()


class World:
    def __init__(self, network: Any, wiki: WikiObject) -> None:
        self.network = network
        self.wiki = wiki
        self._stubs: list[Wiki] = []

    async def as_(self, token: str, network: Any = None) -> Wiki:
        stub = await liferaft.aconnect(
            Wiki, "memory:wiki", token=token, network=network or self.network, timeout=30
        )
        self._stubs.append(stub)
        return stub

    async def close(self) -> None:
        for stub in self._stubs:
            await liferaft.aclose(stub)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    network, wiki = MemoryNetwork(), WikiObject()
    async with await liferaft.aserve(
        wiki, Wiki, "memory:wiki", network=network, tokens=Tokens(TOKENS)
    ):
        here = World(network, wiki)
        yield here
        await here.close()


async def test_a_token_allows_what_its_roles_do(world: World) -> None:
    reader, writer, nobody = (
        await world.as_(READER),
        await world.as_(WRITER),
        await world.as_(NOBODY),
    )

    await writer.write("one")
    assert ["one", "one"] == [await reader.read(), await writer.read()]
    assert ["hello", "hello"] == [await nobody.hello(), await reader.hello()]
    assert ["one"] == [text async for text in writer.history()]
    assert "page" == await (await reader.page()).text()
    for refused in (reader.write("two"), nobody.read(), nobody.page()):
        with pytest.raises(PermissionDenied, match="needs the role"):
            await refused
    with pytest.raises(PermissionDenied, match="history needs the role write"):
        await anext(reader.history())
    await reader.shout("three")
    await writer.shout("four")
    await asyncio.sleep(0.1)
    assert ["one", "FOUR"] == world.wiki.texts


@pytest.mark.parametrize("token", ["", "wrong-" + "w" * 20, READER[:-1], READER + "r", "ü" * 20])
async def test_without_a_token_that_is_taken_there_is_nothing(token: str, world: World) -> None:
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(Unauthenticated, match="with a token only"):
        await world.as_(token)
    with pytest.raises(Unauthenticated):
        await liferaft.adescribe("memory:wiki", token=token, network=world.network)
    assert loop.time() - began_at < 1


async def test_roles_hold_through_a_link_that_loses_and_repeats(world: World) -> None:
    leak = Leak(loss=0.3, duplicate=0.3, delay_max=0.02)
    network = LeakyNetwork(world.network, seed=2, outgoing=leak, incoming=leak)
    reader, writer = await world.as_(READER, network), await world.as_(WRITER, network)
    for number in range(10):
        await writer.write(f"{number}")
        with pytest.raises((PermissionDenied, liferaft.DeadlineExceeded)), liferaft.deadline(3):
            await reader.write("no")
        assert f"{number}" == await reader.read()


async def test_a_host_without_tokens_asks_nobody() -> None:
    network = MemoryNetwork()
    async with await liferaft.aserve(WikiObject(), Wiki, "memory:wiki", network=network):
        stub = await liferaft.aconnect(Wiki, "memory:wiki", network=network)
        await stub.write("one")
        await liferaft.aclose(stub)


async def test_tokens_are_read_again_when_their_file_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, network = tmp_path / "tokens.json", MemoryNetwork()
    path.write_text(json.dumps({READER: ["read"]}))
    async with await liferaft.aserve(
        WikiObject(), Wiki, "memory:wiki", network=network, tokens=Tokens.from_file(path)
    ):
        here = World(network, WikiObject())
        await (await here.as_(READER)).read()
        with pytest.raises(Unauthenticated):
            await here.as_(WRITER)
        path.write_text(json.dumps({WRITER: ["write"]}))
        await (await here.as_(WRITER)).write("x")
        with pytest.raises(Unauthenticated):
            await here.as_(READER)
        path.write_text(f'{{"{READER}": ["read"')
        await (await here.as_(WRITER)).write("x")
        await here.close()
    assert "the tokens from before stay" in caplog.text
    assert READER not in caplog.text


async def test_no_token_shows_in_logs_texts_or_errors(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stub: Any = await world.as_(READER)
    connection = connection_of(stub)
    with pytest.raises(PermissionDenied) as denied:
        await stub.write("x")
    with pytest.raises(Unauthenticated) as refused:
        await world.as_("secret-" * 5)

    texts = [
        caplog.text,
        repr(stub),
        repr(connection),
        repr(Tokens(TOKENS)),
        str(vars(Tokens(TOKENS))),
        str(denied.value),
        str(refused.value),
    ]
    assert not [text for text in texts if READER in text or "secret-" in text]


def test_every_token_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return one == other

    tokens = Tokens(TOKENS)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token in (READER, NOBODY, "short", "x" * 5000):
        compared.clear()
        tokens.roles_of(token)
        assert [32, 32, 32] == compared


@pytest.mark.parametrize(
    "roles",
    [{"short": ["read"]}, {"x" * 5000: ["read"]}, {READER: "read"}],
)
def test_tokens_that_can_be_guessed_or_misread_are_refused(roles: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Tokens(roles)
    assert not any(token in str(refused.value) for token in roles)


def test_a_new_token_is_taken_and_is_never_the_same() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert frozenset({"read"}) == Tokens({(token := new_token()): ["read"]}).roles_of(token)


def test_a_token_in_a_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{READER}\n")
    assert READER == read_token(tmp_path / "token")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_token(tmp_path / "none")


async def test_a_token_is_not_sent_in_the_clear_to_other_machines() -> None:
    with pytest.raises(ConfigurationError, match="for anybody to read") as refused:
        await liferaft.aconnect(Wiki, "10.0.0.1:7400", token=READER)
    assert READER not in str(refused.value)

"""What is peculiar to Unix sockets: the file, its rights, and what a dead process left behind."""

import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from liferaft.errors import AddressError, Unreachable
from liferaft.link.address import Address
from liferaft.link.system import SystemNetwork
from tests.link.recorder import Acceptor, end_all, make_pair


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def exists(path: Path) -> bool:
    return path.exists()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def read(path: Path) -> str:
    return path.read_text()


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture
def address(path: Path) -> Address:
    return Address(kind="unix", host=str(path))


async def test_the_file_is_for_its_owner_alone_and_goes_with_the_listener(
    path: Path, address: Address
) -> None:
    listener = await SystemNetwork().listen(address, Acceptor())
    mode = mode_of(path)
    await listener.close()

    assert 0o600 == mode
    assert not exists(path)


async def test_the_file_of_a_dead_process_is_replaced(path: Path, address: Address) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
        dead.listen()
    was_left_behind = exists(path)
    connecting, accepted, listener = await make_pair(SystemNetwork(), address)
    await end_all(connecting, accepted)
    await listener.close()

    assert was_left_behind


async def test_the_socket_of_a_live_process_is_refused(path: Path, address: Address) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(AddressError) as caught:
            await SystemNetwork().listen(address, Acceptor())
        still_there = exists(path)

    assert still_there
    assert f"{address} is in use by another process: stop it or choose another path" == str(
        caught.value
    )


async def test_a_live_process_that_is_too_busy_to_accept_is_refused(
    path: Path, address: Address
) -> None:
    with (
        closing(socket.socket(socket.AF_UNIX)) as busy,
        closing(socket.socket(socket.AF_UNIX)) as first,
        closing(socket.socket(socket.AF_UNIX)) as second,
    ):
        busy.bind(str(path))
        busy.listen(0)
        first.connect(str(path))
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.connect(str(path))
        with pytest.raises(AddressError, match="is in use by another process"):
            await SystemNetwork().listen(address, Acceptor())


async def test_a_file_that_is_no_socket_is_never_removed(path: Path, address: Address) -> None:
    write(path, "precious")
    with pytest.raises(AddressError, match="is there and is no socket"):
        await SystemNetwork().listen(address, Acceptor())

    assert "precious" == read(path)


async def test_a_closing_listener_leaves_the_file_of_another_one(
    path: Path, address: Address
) -> None:
    ours = await SystemNetwork().listen(address, Acceptor())
    remove(path)
    theirs = await SystemNetwork().listen(address, Acceptor())
    await ours.close()
    is_left = exists(path)
    await theirs.close()

    assert is_left


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x" * 200, "is too long for a socket"),
        ("no/such/directory", "the directory of .* is not there"),
    ],
)
async def test_a_path_that_cannot_be_bound_is_refused_with_advice(
    tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(AddressError, match=sentence):
        await SystemNetwork().listen(Address(kind="unix", host=str(tmp_path / name)), Acceptor())


@pytest.mark.parametrize("name", ["absent", "x" * 200])
async def test_a_path_where_nobody_listens_is_unreachable(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreachable, match="nobody answered at unix:"):
        await SystemNetwork().connect(Address(kind="unix", host=str(tmp_path / name)))

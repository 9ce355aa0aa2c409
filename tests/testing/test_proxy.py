"""The fixture `leaky_proxy`, before a server that knows nothing of liferaft."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from liferaft.testing.proxy import LeakyProxyFactory


@pytest.fixture
def echo_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client, contextlib.suppress(ConnectionResetError):
                    while data := client.recv(4096):
                        client.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_client_suffers_what_the_test_says(
    echo_server: str, leaky_proxy: LeakyProxyFactory
) -> None:
    proxy = leaky_proxy(echo_server, delay=0.001)
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"hello")
        assert b"hello" == client.recv(5)

        proxy.set(is_cut_down=True)
        client.settimeout(0.1)
        client.sendall(b"again")
        with pytest.raises(TimeoutError):
            client.recv(5)

        client.settimeout(30)
        proxy.set()
        assert b"again" == client.recv(5)
        assert 1 == proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(5)
    assert (10, 1) == (proxy.status().bytes_down, proxy.status().connections_reset)

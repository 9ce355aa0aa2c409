"""TLS on TCP links: who is let in, what is said otherwise, and certificates that change."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

import liferaft
from liferaft.errors import AddressError, ConfigurationError, Unreachable
from liferaft.link.address import parse_address
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork
from liferaft.link.tls import Credentials, Tls
from liferaft.ops import certificates
from liferaft.ops.certificates import issue_certificate, make_authority
from liferaft.rpc.host import CalleeStub

LOCAL = ("localhost", "127.0.0.1")


class Echo(Protocol):
    async def say(self, what: str) -> str: ...
    def count(self, to: int) -> AsyncIterator[int]: ...


class EchoObject:
    async def say(self, what: str) -> str:
        return what

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number


class Files:
    """An authority's directory, with certificates for a host and a caller."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        make_authority(directory, name="ours")
        for name in ("host", "caller"):
            self.issue(name)

    @property
    def authority(self) -> str:
        return str(self.directory / "authority.crt")

    def issue(self, name: str, *, hosts: tuple[str, ...] = LOCAL, force: bool = False) -> None:
        issue_certificate(self.directory, name, hosts=hosts, days=30, force=force)

    def host(self, name: str = "host", *, is_mutual: bool = False) -> Tls:
        certificate = str(self.directory / f"{name}.crt")
        key = str(self.directory / f"{name}.key")
        authority = self.authority if is_mutual else ""
        return Tls(certificate=certificate, key=key, authority=authority)

    def caller(self, name: str = "", *, host_name: str = "") -> Tls:
        if not name:
            return Tls(authority=self.authority, name=host_name)
        certificate = str(self.directory / f"{name}.crt")
        key = str(self.directory / f"{name}.key")
        return Tls(certificate=certificate, key=key, authority=self.authority)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("theirs"))


async def serve(tls: Tls | None) -> CalleeStub:
    return await liferaft.aserve(EchoObject(), Echo, "127.0.0.1:0", tls=tls)


async def said_over(host: CalleeStub, tls: Tls | None) -> str:
    stub = await liferaft.aconnect(Echo, host.address, tls=tls, timeout=1)
    try:
        return await stub.say("hello")
    finally:
        await liferaft.aclose(stub)


async def test_calls_and_streams_go_over_tls(files: Files) -> None:
    async with await serve(files.host()) as host:
        stub = await liferaft.aconnect(Echo, host.address, tls=files.caller())
        big = "x" * 1_000_000
        assert big == await stub.say(big)
        assert list(range(5000)) == [number async for number in stub.count(5000)]
        await liferaft.aclose(stub)


async def test_a_host_may_ask_its_callers_for_certificates(files: Files, strangers: Files) -> None:
    async with await serve(files.host(is_mutual=True)) as host:
        assert "hello" == await said_over(host, files.caller("caller"))
        with pytest.raises(Unreachable, match="a certificate that is not taken"):
            await said_over(host, files.caller())
        stranger = files.caller()
        wrong = Tls(
            certificate=strangers.caller("caller").certificate,
            key=strangers.caller("caller").key,
            authority=stranger.authority,
        )
        with pytest.raises(Unreachable):
            await said_over(host, wrong)


async def test_a_caller_trusts_its_authority_only(files: Files, strangers: Files) -> None:
    async with await serve(files.host()) as host:
        with pytest.raises(Unreachable, match="the host's certificate does not hold"):
            await said_over(host, strangers.caller())
        with pytest.raises(Unreachable, match="the host's certificate does not hold"):
            await said_over(host, Tls())


async def test_the_certificate_must_be_for_the_host_that_was_meant(files: Files) -> None:
    files.issue("elsewhere", hosts=("example.org",))
    async with await serve(files.host("elsewhere")) as host:
        with pytest.raises(Unreachable, match="does not hold: IP address mismatch"):
            await said_over(host, files.caller())
        assert "hello" == await said_over(host, files.caller(host_name="example.org"))


async def test_a_certificate_that_is_over_is_refused(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "CLOCKS_APART", dt.timedelta(days=31))
    make = certificates._certificate
    monkeypatch.setattr(
        certificates, "_certificate", lambda *parts, days: make(*parts, days=days - 31)
    )
    files.issue("old")
    async with await serve(files.host("old")) as host:
        with pytest.raises(Unreachable, match="certificate has expired"):
            await said_over(host, files.caller())


async def test_tls_and_plain_do_not_mix(files: Files) -> None:
    async with await serve(files.host()) as host:
        with pytest.raises(Unreachable, match="TLS on one side only"):
            await said_over(host, None)
    async with await serve(None) as host:
        with pytest.raises(Unreachable, match="no TLS with"):
            await said_over(host, files.caller())


async def test_certificates_are_read_again_and_calls_go_on(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with await serve(files.host()) as host:
        stub = await liferaft.aconnect(Echo, host.address, tls=files.caller())
        numbers = stub.count(100_000)
        assert 0 == await anext(numbers)
        before = await certificate_at(host.address, files)

        files.issue("host", force=True)

        assert before != await certificate_at(host.address, files)
        assert (tmp_path / "host.crt").read_text() == await certificate_at(host.address, files)
        assert 99_999 == len([number async for number in numbers])
        assert "still here" == await stub.say("still here")
        await liferaft.aclose(stub)


async def certificate_at(address: str, files: Files) -> str:
    """Return the certificate that a host shows to a new caller, as PEM."""
    host, _, port = address.rpartition(":")
    context = Credentials(files.caller(), is_host=False).context
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    del reader
    return ssl.DER_cert_to_PEM_cert(shown)


def test_files_that_are_half_written_leave_what_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(tmp_path)
    credentials = Credentials(files.host(), is_host=True)
    context = credentials.context
    whole = (tmp_path / "host.crt").read_bytes()
    (tmp_path / "host.crt").write_bytes((tmp_path / "caller.crt").read_bytes())

    assert context is credentials.context
    assert "the certificates from before stay" in caplog.text
    (tmp_path / "host.crt").write_bytes(whole)
    caplog.clear()
    assert context is credentials.context
    assert "stay" not in caplog.text


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        (Tls(certificate="/no/such.crt", key="/no/such.key"), "No such file"),
        (Tls(certificate="/no/such.crt"), "belong together"),
        (Tls(), "a host needs a certificate"),
    ],
)
async def test_what_cannot_be_used_is_said_when_serving(tls: Tls, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await serve(tls)


async def test_beyond_this_machine_only_with_tls_or_on_purpose(files: Files) -> None:
    async def accept_nobody(network: SystemNetwork) -> None:
        listener = await network.listen(parse_address("0.0.0.0:0"), lambda link: link.abort())
        await listener.close()

    with pytest.raises(AddressError, match="can be reached from other machines"):
        await accept_nobody(SystemNetwork())
    await accept_nobody(SystemNetwork(is_insecure=True))
    await accept_nobody(SystemNetwork(tls=files.host()))


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("LOCALHOST.:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.org:1", False),
    ],
)
def test_what_is_beyond_this_machine(address: str, is_loopback: bool) -> None:
    assert is_loopback == parse_address(address).is_loopback


async def test_tls_below_a_link_that_loses_and_repeats(files: Files) -> None:
    leak = Leak(loss=0.2, duplicate=0.2, delay_max=0.002)
    network = LeakyNetwork(SystemNetwork(tls=files.caller()), seed=2, outgoing=leak, incoming=leak)
    async with await serve(files.host()) as host:
        stub = await liferaft.aconnect(Echo, host.address, network=network, timeout=60)
        for number in range(20):
            assert f"{number}" == await stub.say(f"{number}")
        await liferaft.aclose(stub)


def test_keys_are_for_their_owner_and_nothing_is_overwritten(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for name in ("authority.key", "host.key"):
        assert 0o600 == (tmp_path / name).stat().st_mode & 0o777
    with pytest.raises(ConfigurationError, match="is there already"):
        files.issue("host")
    with pytest.raises(ConfigurationError, match="is there already"):
        make_authority(tmp_path, name="again")
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        files.issue("../outside")
    with pytest.raises(ConfigurationError, match="there is no authority"):
        issue_certificate(tmp_path / "empty", "host", hosts=LOCAL, days=1)

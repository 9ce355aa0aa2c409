"""TLS 1.3 for TCP links: certificates from files, read again when the files change.

A host that has an authority demands a certificate of it from every caller (mutual TLS); a caller
always demands one of the host, for the name that it connects to. Connections that are up go on
while certificates change. What a certificate's owner may do is not decided here.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

import msgspec

from liferaft.errors import ConfigurationError

logger = logging.getLogger("liferaft.link")

HANDSHAKE_TIMEOUT: Final = 5.0
"""Seconds for the handshake of TLS."""


class Tls(msgspec.Struct, frozen=True):
    """Where the certificates lie, as files in PEM.

    `certificate` and `key` are this side's own; a caller needs them only where the host demands
    them. `authority` has the certificates of those whose signature counts: at a host it has every
    caller asked for a certificate, at a caller it stands for the system's authorities. `name` is
    what a caller expects the host's certificate to be for, the host's address if empty.
    """

    certificate: str = ""
    key: str = ""
    authority: str = ""
    name: str = ""


class Credentials:
    """The certificates of one side, as they are in the files at present."""

    def __init__(self, tls: Tls, *, is_host: bool) -> None:
        """Raise `ConfigurationError` when the files cannot be used."""
        if bool(tls.certificate) != bool(tls.key):
            raise ConfigurationError("a certificate and its key belong together: give both")
        if is_host and not tls.certificate:
            raise ConfigurationError("a host needs a certificate and its key")
        self.tls = tls
        self._is_host = is_host
        self._context = _new_context(tls, is_host=is_host)
        self._files = self._state_of_files()
        try:
            self._load(self._context)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(self._explain(error)) from error

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next handshake, with what the files hold at present."""
        self.refresh()
        return self._context

    def refresh(self) -> None:
        """Read files that changed; those that cannot be used leave the context as it was."""
        files = self._state_of_files()
        if files != self._files:
            self._files = files
            try:
                # First into another one: a certificate without its key would spoil the context.
                self._load(_new_context(self.tls, is_host=self._is_host))
                self._load(self._context)
            except (OSError, ssl.SSLError) as error:
                logger.warning("%s; the certificates from before stay", self._explain(error))
            else:
                logger.info("the certificates were read again: %s", self.tls.certificate)

    def _load(self, context: ssl.SSLContext) -> None:
        tls = self.tls
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
        if tls.authority:
            context.load_verify_locations(tls.authority)

    def _state_of_files(self) -> tuple[tuple[int, int, int], ...]:
        tls = self.tls
        return tuple(_state_of(name) for name in (tls.certificate, tls.key, tls.authority) if name)

    def _explain(self, error: Exception) -> str:
        tls = self.tls
        names = ", ".join(name for name in (tls.certificate, tls.key, tls.authority) if name)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return f"the certificates in {names} cannot be used: {reason}"


def _new_context(tls: Tls, *, is_host: bool) -> ssl.SSLContext:
    if is_host:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED if tls.authority else ssl.CERT_NONE
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not tls.authority:
            context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _state_of(name: str) -> tuple[int, int, int]:
    """Return what differs when a file was written or replaced; of one that is not there, zeros."""
    try:
        found = Path(name).stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)

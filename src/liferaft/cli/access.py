"""How commands reach a host: certificates, tokens, and how long they wait.

A token is never an option: whoever may list processes would read it there.
"""

import os
from dataclasses import dataclass
from typing import Final

from cyclopts import Parameter

from liferaft.link.tls import Tls
from liferaft.rpc.access import read_token

TOKEN_VARIABLE: Final = "LIFERAFT_TOKEN"  # noqa: S105 - a name, no secret
"""The environment variable that holds a token where no file is given."""


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """The options of every command that calls a host."""

    timeout: float = 10.0
    """How many seconds a call may take; a stream may take as long as it likes."""

    tls: bool = False
    """Talk TLS, and take the host's certificate if one of the system's authorities signed it."""

    tls_authority: str = ""
    """Talk TLS, and take the host's certificate if this authority signed it (PEM)."""

    tls_certificate: str = ""
    """The certificate to show where the host asks for one (PEM)."""

    tls_key: str = ""
    """The key of that certificate."""

    tls_name: str = ""
    """The name that the host's certificate must be for, if not that of the address."""

    token_file: str = ""
    """The file with the token to show; without it LIFERAFT_TOKEN of the environment counts."""

    insecure: bool = False
    """Send the token without TLS, for anybody on the way to read."""

    def credentials(self) -> Tls | None:
        """Return the settings of TLS, None to talk without."""
        found = tls_from(self.tls_certificate, self.tls_key, self.tls_authority, self.tls_name)
        return Tls() if found is None and self.tls else found

    def token(self) -> str:
        """Return the token to show, empty for none; raises `ConfigurationError`."""
        if self.token_file:
            return read_token(self.token_file)
        return os.environ.get(TOKEN_VARIABLE, "")


def tls_from(certificate: str, key: str, authority: str, name: str = "") -> Tls | None:
    """Return the settings of TLS, or None where nothing asks for it."""
    if not (certificate or key or authority or name):
        return None
    return Tls(certificate=certificate, key=key, authority=authority, name=name)

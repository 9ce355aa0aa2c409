"""Who may call: bearer tokens with roles. Pure, but for the file that they may be read from.

A token is a secret. It is kept as a digest only, compared in constant time, and never part of a
text that anyone sees.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from liferaft.errors import ConfigurationError

logger = logging.getLogger("liferaft.rpc")

TOKEN_CHARACTERS_MIN: Final = 16
"""Fewer can be guessed. `new_token` makes 43."""
TOKEN_CHARACTERS_MAX: Final = 4_096

Roles = frozenset[str]
EVERYTHING: Final[Roles] = frozenset({"*"})
"""The roles of callers where there are no tokens: nobody is asked, and nothing is refused."""


def new_token() -> str:
    """Return a token that nobody can guess: 256 bits, in letters, digits, - and _."""
    return secrets.token_urlsafe(32)


def read_token(path: str | Path) -> str:
    """Return the token that a file holds, without the line's end; raises `ConfigurationError`."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"the token in {path} cannot be read") from None


class Tokens:
    """The tokens that a host takes, and the roles of each."""

    def __init__(self, roles_by_token: Mapping[str, Collection[str]]) -> None:
        """Raise `ConfigurationError` for a token that could be guessed."""
        self._roles = _digested(roles_by_token)
        self._path: Path | None = None
        self._state: object = None

    def __repr__(self) -> str:
        return f"<{len(self._roles)} tokens>"

    @staticmethod
    def from_file(path: str | Path) -> "Tokens":
        """Return the tokens of a JSON file, {"token": ["role", ...]}, read again when it changes.

        A file that cannot be read later leaves the tokens as they were. Raises
        `ConfigurationError`.
        """
        tokens = Tokens(_read(Path(path)))
        tokens._path = Path(path)
        tokens._state = _state_of(Path(path))
        return tokens

    def roles_of(self, token: str) -> Roles | None:
        """Return the roles of a token, or None for one that is not taken.

        It takes as long whichever token it is, and whether it is one.
        """
        self._read_again()
        digest = _digest(token)
        found: Roles | None = None
        for known, roles in self._roles.items():
            if hmac.compare_digest(known, digest):
                found = roles
        return found

    def _read_again(self) -> None:
        if self._path is None or (state := _state_of(self._path)) == self._state:
            return
        self._state = state
        try:
            self._roles = _digested(_read(self._path))
        except ConfigurationError as error:
            logger.warning("%s; the tokens from before stay", error)


def is_allowed(needed: Roles, roles: Roles) -> bool:
    """Return whether a caller with `roles` may call a method that needs one of `needed`."""
    return not needed or roles is EVERYTHING or not needed.isdisjoint(roles)


def denial(method: str, needed: Roles) -> str:
    """Return the sentence that tells what was missing."""
    roles = " or ".join(sorted(needed))
    return f"{method} needs the role {roles}, which the caller's token has not"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _digested(roles_by_token: Mapping[str, Collection[str]]) -> dict[bytes, Roles]:
    for token, roles in roles_by_token.items():
        if not TOKEN_CHARACTERS_MIN <= len(token) <= TOKEN_CHARACTERS_MAX:
            raise ConfigurationError(
                f"a token has {len(token)} characters: give {TOKEN_CHARACTERS_MIN} to "
                f"{TOKEN_CHARACTERS_MAX}, such as `liferaft certs token` makes"
            )
        if isinstance(roles, str):
            raise ConfigurationError("the roles of a token are a list, not one text")
    return {_digest(token): frozenset(roles) for token, roles in roles_by_token.items()}


def _read(path: Path) -> dict[str, list[str]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
    except OSError as error:
        raise ConfigurationError(f"the tokens in {path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError:
        # What is wrong with it might show a part of it.
        text = f'{path} holds no tokens: write {{"token": ["role", ...], ...}} as JSON'
        raise ConfigurationError(text) from None


def _state_of(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)

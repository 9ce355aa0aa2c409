"""`liferaft certs`: an authority for development, certificates of it, and tokens."""

from pathlib import Path

from cyclopts import App

from liferaft.cli.exits import ExitStatus
from liferaft.errors import ConfigurationError
from liferaft.rpc.access import new_token

certs = App(name="certs", help="Make certificates for development, and tokens.")


@certs.command
def authority(
    directory: Path, /, *, name: str = "liferaft development", force: bool = False
) -> int:
    """Make an authority: whoever has its certificate trusts those that it issues.

    Parameters
    ----------
    directory
        Where its certificate and its key go: authority.crt and authority.key.
    name
        What it is called in certificates.
    force
        Replace one that is there; what it issued is worth nothing then.
    """
    try:
        from liferaft.ops.certificates import make_authority  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise _missing() from error
    print(make_authority(directory, name=name, force=force))
    return ExitStatus.OK


@certs.command
def issue(
    directory: Path,
    name: str,
    /,
    *,
    host: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"),
    days: int = 397,
    force: bool = False,
) -> int:
    """Issue a certificate, for a host or a caller alike.

    Parameters
    ----------
    directory
        Where the authority is, and where NAME.crt and NAME.key go.
    name
        The name of its owner.
    host
        A name or address at which its owner is reached; may be given again for more.
    days
        How long it holds.
    force
        Replace one that is there; hosts and callers that run read the new one by themselves.
    """
    try:
        from liferaft.ops.certificates import issue_certificate  # noqa: PLC0415 - as above
    except ImportError as error:
        raise _missing() from error
    print(issue_certificate(directory, name, hosts=host, days=days, force=force))
    return ExitStatus.OK


@certs.command
def token() -> int:
    """Print a token that nobody can guess, for the file of a host's tokens."""
    print(new_token())
    return ExitStatus.OK


def _missing() -> ConfigurationError:
    return ConfigurationError("certificates need one more package: pip install 'liferaft[tls]'")

"""One tree of exceptions: whose fault it is, what is certain, what is unknown, what to do next.

Everything that liferaft raises on purpose derives from `LiferaftError`; where the standard library
has a class for the same thing, ours derives from that too, so `except TimeoutError` works.

    LiferaftError
    |-- InterfaceError (TypeError)       the class cannot be an interface; found when reflected
    |-- InterfaceMismatch (TypeError)    the two sides differ on a method; found at connecting
    |-- InvalidArgument (TypeError)      an argument does not fit its annotation; nothing executed
    |-- AddressError (ValueError)        an address cannot be read, or cannot be listened on
    |-- ConfigurationError (ValueError)  a setting is wrong, or contradicts another one
    |-- StubClosed (RuntimeError)        the stub, server or node was closed by this side
    |-- ConnectionLost (ConnectionError) the peer went away; what was not answered is resent
    |   `-- Unreachable                  nobody answered at any address; nothing was executed
    |-- DeadlineExceeded (TimeoutError)  time is up; the call may or may not have been executed
    |-- OutcomeUnknown                   the host restarted; executed or not, once at most
    |   `-- SessionExpired               the session's replies are gone; nothing runs twice
    |-- Refused                          the host turned the call away; nothing was executed
    |   |-- NoSuchObject (LookupError)   the host has no such object or method
    |   |-- NoLeader                     no leader is known at present
    |   |-- ChangeRefused                the members, or who leads, stay as they are
    |   |-- ReadOnly                     the stub only reads, and the method is a command
    |   |-- Unauthenticated (PermissionError)   the host does not take the token
    |   |-- PermissionDenied (PermissionError)  the token's roles do not allow the call
    |   `-- Overloaded                   a limit is reached; try again later
    |-- Removed                          this node is no member of its cluster any more
    |-- ReplicaDiverged                  this node's state is not that of the other nodes; it ends
    |-- RemoteError                      the method raised what its interface does not declare
    |-- ProtocolError                    the peer broke the protocol; its connection was closed
    |-- StorageError (OSError)
    |   |-- DataDirectoryError           it is locked, or belongs to another cluster or node
    |   |-- DamagedLog                   damage before the tail; the node must not guess
    |   |-- DamagedSnapshot              the bytes are not a whole snapshot; nothing of it was used
    |   |-- DiskFull                     writes stop until there is space; nothing is lost
    |   `-- DiskFailed                   a write or sync failed; the node ends, never retries it
    `-- InvariantViolated                our own promise is broken; the node stops at once

This module imports nothing.
"""


class LiferaftError(Exception):
    """The root of everything that liferaft raises on purpose.

    `is_of_a_call` is True where a stub raised it: then it speaks of that call. If it is an object's
    method that made the call and lets the error out, that nothing was executed is not true of it.
    """

    is_of_a_call = False


class InterfaceError(LiferaftError, TypeError):
    """The class cannot serve as an interface; the message names Class.method(parameter)."""


class InterfaceMismatch(LiferaftError, TypeError):
    """The two sides declare a method differently; the message shows both signatures.

    No call was made. Bring both sides to the same version of the interface.
    """


class InvalidArgument(LiferaftError, TypeError):
    """An argument does not fit the annotation of its parameter. Nothing was executed."""


class AddressError(LiferaftError, ValueError):
    """An address cannot be understood, or cannot be listened on."""


class ConfigurationError(LiferaftError, ValueError):
    """A setting is out of its range, or contradicts another one."""


class StubClosed(LiferaftError, RuntimeError):
    """The stub, server or node was closed by this side before or during the call."""


class ConnectionLost(LiferaftError, ConnectionError):
    """The peer went away.

    Stubs reconnect and resend by themselves until the deadline, so a caller sees this only from a
    link that it uses directly.
    """


class Unreachable(ConnectionLost):
    """Nobody answered at any of the addresses within the deadline. Nothing was executed."""


class DeadlineExceeded(LiferaftError, TimeoutError):
    """The deadline passed before the answer came.

    The call may have been executed, may still be, or may never be; at most once in each case.
    """


class OutcomeUnknown(LiferaftError):
    """The host restarted, or forgot the session, between the call and its answer.

    The call was executed at most once, and nothing will tell whether it was. Look at the object
    before you call again.
    """


class SessionExpired(OutcomeUnknown):
    """The session was idle for so long that the host dropped it, and its replies with it."""


class Refused(LiferaftError):
    """The host turned the call away before doing any of it. Nothing was executed."""


class NoSuchObject(Refused, LookupError):
    """The host has no object, or the object has no method, of that name."""


class NoLeader(Refused):
    """The cluster has no leader at present; a majority of its nodes may be down or cut off."""


class ChangeRefused(Refused):
    """The cluster's members, or who leads, were not changed; the sentence says why."""


class ReadOnly(Refused):
    """The method is a command, and the stub was connected with a kind of reads that only reads."""


class Removed(LiferaftError):
    """This node was removed from its cluster, and takes part no longer.

    Its name cannot be used again. Its data directory is of no use to the cluster any more.
    """


class ReplicaDiverged(LiferaftError):
    """The state of this node is not that of a majority, or no majority has the same; it ends.

    The log is sound: the same commands did different things. What the node has answered before may
    have been wrong, which of it is unknown. The sentence says what to do in either case.
    """


class Unauthenticated(Refused, PermissionError):
    """The host takes calls with a token only, and not with this one. Nothing was executed."""


class PermissionDenied(Refused, PermissionError):
    """The method needs a role that the caller's token has not. Nothing was executed."""


class Overloaded(Refused):
    """A limit of the host is reached. Nothing was executed; try again after a while.

    `retry_after` is how many seconds that should be, None where the host does not say.
    """

    retry_after: float | None

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RemoteError(LiferaftError):
    """The remote method raised an exception that its interface does not declare.

    `remote_type` is the qualified name of the exception's class, `remote_message` its text and
    `remote_traceback` the traceback as text, empty where the host does not send it.
    """

    def __init__(self, remote_type: str, remote_message: str, remote_traceback: str = "") -> None:
        super().__init__(remote_type, remote_message, remote_traceback)
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        summary = f"{self.remote_type}: {self.remote_message}"
        if not self.remote_traceback:
            return summary
        return f"{summary}\n\nRemote traceback:\n{self.remote_traceback.rstrip()}"


class ProtocolError(LiferaftError):
    """The peer sent what the protocol does not allow. Its connection is closed, nothing else."""


class StorageError(LiferaftError, OSError):
    """The disk, or what lies on it, is not as it must be."""


class DataDirectoryError(StorageError):
    """The data directory is in use by another process, or belongs to another cluster or node."""


class DamagedLog(StorageError):
    """A record before the log's tail is damaged: acknowledged entries may be affected.

    The node must not start from it. Move the directory away and let the node rejoin from its
    peers as a new member.
    """


class DamagedSnapshot(StorageError):
    """The bytes are not one whole snapshot, or are of a format that this version does not know.

    Nothing of it was used, and the state is what it was. Take an older snapshot, or fetch one from
    another node.
    """


class DiskFull(StorageError):
    """No space is left. What was acknowledged is safe; writes go on when there is space again."""


class DiskFailed(StorageError):
    """A read, write or sync failed.

    After a failed sync nobody knows what is on the disk, so it is never retried: the node ends.
    Source: Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020.
    """


class InvariantViolated(LiferaftError):
    """A promise that everything rests on is broken. The node stops before it does harm."""

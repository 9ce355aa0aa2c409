"""`liferaft node`: one node of a cluster, until it is told to stop."""

import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from msgspec.structs import replace

from liferaft.cli.access import tls_from
from liferaft.cli.exits import ExitStatus
from liferaft.cluster.config import CLUSTER_ID_DEFAULT, NodeConfig, checked, parse_peers
from liferaft.cluster.divergence import COMPARE_INTERVAL
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.errors import ConfigurationError
from liferaft.link.leak import Leak
from liferaft.ops.hosting import Hosting, host_node, new_event_loop
from liferaft.raft.config import PROFILES, RaftConfig
from liferaft.replicated.loading import load_objects
from liferaft.storage.wal import SEGMENT_BYTES

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def node(
    *,
    id: str,  # noqa: A002 - the option is called --id
    peers: str,
    data: Path,
    object: list[str],  # noqa: A002 - the option is called --object
    listen: str = "",
    join: bool = False,
    groups: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    cluster: str = CLUSTER_ID_DEFAULT,
    segment_bytes: int = SEGMENT_BYTES,
    snapshot_entries: int = SnapshotPolicy().entries,
    snapshot_log_bytes: int = SnapshotPolicy().log_bytes,
    keep_entries: int = RaftConfig().keep_entries,
    compare_interval: float = COMPARE_INTERVAL,
    lease_clock_error: float | None = None,
    wait_max: float | None = None,
    profile: Literal["default", "lan", "wan"] = "default",
    log_level: Literal["debug", "info", "warning", "error"] = "warning",
    loss: float = 0.0,
    delay_max: float = 0.0,
    duplicate: float = 0.0,
    seed: int = 0,
    control: str = "",
    tls_certificate: str = "",
    tls_key: str = "",
    tls_authority: str = "",
    tokens: str = "",
    token_file: str = "",
    insecure: bool = False,
    stop_with_stdin: Annotated[bool, Parameter(show=False)] = False,
) -> int:
    """Run one node of a cluster until SIGTERM or Ctrl-C.

    Parameters
    ----------
    id
        This node's name, one of those in --peers.
    peers
        Every node of the cluster with its address, this one included:
        n1=127.0.0.1:7401,n2=127.0.0.1:7402,n3=127.0.0.1:7403
    data
        The node's own directory; made when it does not exist.
    object
        What to host: NAME=module:Class, or module:Class to use the class's name. May be given
        again for more. Every node of a cluster must host the same objects.
    listen
        Where to listen, if not at this node's own address in --peers.
    join
        Wait to be added to a cluster that runs (liferaft member add); --peers names this node and
        some of the cluster's. For the first start: later ones know who takes part.
    groups
        Host so many Raft groups, named 0, 1, 2 and so on, each with the objects for itself:
        GROUP/NAME is what clients ask for. They share links, log and heartbeats; see
        docs/groups.md. The same on every node of a cluster, and from its first start on.
    cluster
        The cluster's name, which keeps nodes of different clusters apart.
    segment_bytes
        The size of the log's files.
    snapshot_entries
        Write down the whole state after so many entries, and drop the log before it.
    snapshot_log_bytes
        Do so, too, when the log has grown by so many bytes.
    keep_entries
        How many entries before a snapshot stay in the log, for nodes that are nearly there.
    compare_interval
        Let the nodes compare their states after so many seconds in which commands came, and end one
        whose state is another than that of most; 0 for never. The same on all nodes. Groups are not
        compared.
    lease_clock_error
        Let the leader answer reads="lease" by its clock, without a round of heartbeats. No node's
        clock may run faster than another's by more than this share, such as 0.1, or such reads may
        be old. The same on all nodes, before the first client reads so; see docs/reads.md.
    wait_max
        Refuse a command as overload that would wait for longer than so many seconds. As long as the
        profile's silence of a leader otherwise, and 0.25 s at least; see docs/overload.md.
    profile
        How soon a silent leader is taken for dead: after 0.3 to 0.6 s ("default"), 0.1 to 0.2 s
        ("lan", for nodes on one fast network), 1.5 to 3 s ("wan"). The same on every node.
    log_level
        How much is logged to stderr.
    loss
        For trials: how likely each frame that this node sends is lost, from 0 to 1.
    delay_max
        For trials: hold each frame that this node sends for up to so many seconds.
    duplicate
        For trials: how likely each frame that this node sends arrives twice, from 0 to 1.
    seed
        For trials: where the chances of --loss, --delay-max and --duplicate come from.
    control
        For trials: serve liferaft.ops.control.LinkControl at this address, such as
        unix:/tmp/n1.sock, so that other processes can make the links leak or cut them.
    tls_certificate
        Talk TLS, with the certificate in this file (PEM); read again when it changes.
    tls_key
        The certificate's key.
    tls_authority
        The authority's certificate: whoever connects must show a certificate of it, and so must the
        other nodes.
    tokens
        Take calls with a token only, one of this JSON file: {"token": ["role", ...]}. Nodes need
        the role peer, and who asks for a node's status the role admin.
    token_file
        The file with this node's own token, which it shows to the other nodes.
    insecure
        Listen beyond this machine without TLS: anybody there can read and call.
    """
    logging.basicConfig(level=log_level.upper(), format=LOG_FORMAT, stream=sys.stderr)
    sys.path.insert(0, str(Path.cwd()))  # so that a class beside the user is found
    config = NodeConfig(
        node_id=id,
        peers=dict(parse_peers(peers)),
        data=str(data),
        listen=listen,
        is_joining=join,
        cluster_id=cluster,
        segment_bytes=segment_bytes,
        raft=replace(
            PROFILES[profile], keep_entries=keep_entries, lease_clock_error=lease_clock_error
        ),
        snapshots=SnapshotPolicy(entries=snapshot_entries, log_bytes=snapshot_log_bytes),
        wait_max=wait_max,
        compare_interval=compare_interval,
        tls=tls_from(tls_certificate, tls_key, tls_authority),
        is_insecure=insecure,
        tokens=tokens,
        token=token_file,
    )
    _check_directory(data)
    load_objects(object)  # what is wrong with them is said before anything begins
    hosting = Hosting(
        config=checked(config),
        objects=partial(load_objects, object),
        groups=tuple(map(str, range(groups))),
        leak=Leak(loss=loss, delay_max=delay_max, duplicate=duplicate),
        seed=seed,
        control=control,
    )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(hosting, stop_with_stdin=stop_with_stdin))
    return ExitStatus.OK


def _check_directory(data: Path) -> None:
    """Raise `ConfigurationError` where there cannot be a directory that this user writes to."""
    existing = next(path for path in (data, *data.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise ConfigurationError(
            f"--data is {data}, but {existing} is not a directory that you can write to: "
            "choose another place"
        )


async def _run(hosting: Hosting, *, stop_with_stdin: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_or_leave, stop)
    if stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _watch_stdin, stop)
    await host_node(hosting, stop=stop, on_listening=_announce)


def _stop_or_leave(stop: asyncio.Event) -> None:
    """Ask for a clean stop the first time; the second time there is no patience left."""
    if stop.is_set():
        os._exit(ExitStatus.INTERRUPTED)
    stop.set()


def _watch_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _announce(sentence: str) -> None:
    print(sentence, flush=True)

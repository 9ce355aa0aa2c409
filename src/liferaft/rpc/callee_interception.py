"""Interceptors at the host: what a call of one object goes through before its method runs.

An intercepted call runs as a task. Its method still runs where it would without: as part of that
task, or on a worker thread.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from liferaft.rpc import cancellation
from liferaft.rpc.interception import Interceptor, Invocation, chained
from liferaft.rpc.interface import MethodSignature
from liferaft.rpc.later_stream import cannot_be_made_again
from liferaft.rpc.workers import Job


class HostInterception:
    """The interceptors of one hosted object."""

    def __init__(self, interceptors: Sequence[Interceptor], *, name: str) -> None:
        self._interceptors = tuple(interceptors)
        self._name = name

    def around(
        self,
        job: Job,
        signature: MethodSignature,
        function: Callable[..., Any],
        values: tuple[Any, ...],
        *,
        interface: str,
        object: str,  # noqa: A002 - what it is called on the wire
        metadata: Mapping[str, str] | None,
        peer: str,
        run: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> Callable[[], Awaitable[Any]]:
        """Return what has `function` run within the interceptors, to be awaited by the job's task.

        `object` is what was called, with a "#" where it is a reference. `run` runs a call of it,
        and is over when the call is, its streams too. Until the innermost of them lets the call go
        on, `job.is_begun` is False.
        """
        job.is_begun = False
        told = Invocation(
            interface,
            object if "#" in object else self._name,
            signature.name,
            values,
            metadata or {},
            peer,
            signature.is_idempotent,
            signature.is_oneway,
            signature.has_streams,
        )

        async def execute(invocation: Invocation) -> Any:
            if job.is_begun and signature.has_streams:
                raise cannot_be_made_again()
            job.is_begun = True
            cancellation.executing(job)
            return await run(signature.prepare(function, invocation.arguments))

        def begin() -> Awaitable[Any]:
            return chained(self._interceptors, execute)(told)

        return begin

"""`liferaft shell`: a prompt at which the methods of a host's objects are called.

A line is one call with literal arguments, such as `todo.add("milk", priority=2)`. It is parsed, and
never evaluated: what is no literal is refused.
"""

import ast
import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from liferaft.cli.access import Access
from liferaft.cli.exits import ExitStatus, one_line, sentence_of
from liferaft.cli.remote import Host, RemoteObject, hint_of, read_literal
from liferaft.errors import ConfigurationError, LiferaftError
from liferaft.rpc.deadline import deadline
from liferaft.rpc.views import parse_reads

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

COMMANDS: Final = ("help", "exit")
HELP: Final = """\
todo.add("milk", priority=2)   call a method; arguments are Python literals
help                           the objects, and the methods of each
help todo.add                  what a method takes, gives and is for
exit                           leave; so does Ctrl-D"""


def shell(address: str, /, *, access: Access | None = None, reads: str = "linearizable") -> int:
    """Call the objects of a host from a prompt, with completion of names and parameters.

    Lines may also come from a pipe: then no prompt is shown, and the status is that of the first
    line that failed.

    Parameters
    ----------
    address
        Where the host is: 127.0.0.1:7400, unix:/path, or several of them separated by commas.
    reads
        How a replicated object is read: linearizable, lease, follower, within:SECONDS or stale.
    """
    return asyncio.run(_shell(Host(address, access, parse_reads(reads))))


async def _shell(host: Host) -> int:
    async with host:
        objects = {name: await host.object(name) for name in await host.names()}
        session = Session(objects, timeout=host.timeout, show=print)
        if sys.stdin.isatty():
            print(
                f"{host.address}: {', '.join(objects) or 'no object'}. Ctrl-D leaves; help helps."
            )
            await session.run(prompt(objects).prompt_async, is_patient=True)
            return ExitStatus.OK
        is_well = await session.run(_piped_line, is_patient=False)
        return ExitStatus.OK if is_well else ExitStatus.NEGATIVE


async def _piped_line() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        raise EOFError
    return line


def prompt(objects: dict[str, RemoteObject]) -> "PromptSession[str]":
    """Return what reads lines from the terminal, and completes them."""
    from prompt_toolkit import PromptSession  # noqa: PLC0415 - for a terminal only
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion  # noqa: PLC0415
    from prompt_toolkit.document import Document  # noqa: PLC0415

    class Names(Completer):
        """Gives what could stand at the cursor to prompt_toolkit."""

        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterable[Completion]:
            """See `Completer`."""
            del complete_event
            for start, text, explanation in completions(document.text_before_cursor, objects):
                yield Completion(text, start_position=-start, display_meta=explanation)

    return PromptSession("> ", completer=Names())


class Session:
    """Carries out one line after the other, and shows what comes of each."""

    def __init__(
        self, objects: dict[str, RemoteObject], *, timeout: float, show: Callable[[str], None]
    ) -> None:
        self._objects = objects
        self._timeout = timeout
        self._show = show

    async def run(self, next_line: Callable[[], Awaitable[str]], *, is_patient: bool) -> bool:
        """Take lines until there are no more, or one fails and we are not patient.

        Returns whether none failed. Ctrl-C gives up what is under way, not the session.
        """
        is_well = True
        while is_well or is_patient:
            try:
                line = await next_line()
            except EOFError:
                break
            except KeyboardInterrupt:
                continue
            if line.strip() == "exit":
                break
            is_well = await self._survive(line) and is_well
        return is_well

    async def _survive(self, line: str) -> bool:
        """Carry out a line; what goes wrong is shown, and is no reason to leave."""
        try:
            await self.execute(line)
        except LiferaftError as error:
            self._show(f"! {sentence_of(error)}")
        except Exception as error:  # noqa: BLE001 - what an interface declares may be any class
            self._show(f"! {type(error).__name__}: {one_line(str(error))}")
        else:
            return True
        return False

    async def execute(self, line: str) -> None:
        """Carry out one line; raises what the call raises."""
        text = line.strip()
        if not text or text.startswith("#"):
            return
        word, _, topic = text.partition(" ")
        if word == "help":
            self._show(self._help(topic.strip()))
            return
        remote, name, positional, named = self._parse(text)
        method = remote.method(name)
        if method.has_streams:
            async for item in remote.call(name, positional, named):
                self._show(repr(item))
            return
        with deadline(self._timeout):
            async for result in remote.call(name, positional, named):
                if result is not None:
                    self._show(repr(result))

    def _parse(self, text: str) -> tuple[RemoteObject, str, list[Any], dict[str, Any]]:
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ConfigurationError(f"that is no call: {error}; try help") from error
        if not isinstance(tree, ast.Call):
            raise ConfigurationError('that is no call: write it as todo.add("milk"), or try help')
        remote, name = self._target(tree.func)
        method = remote.method(name)
        positional = [
            read_literal(_literal(node), hint_of(method, place), f"{name}, argument {place + 1}")
            for place, node in enumerate(tree.args)
        ]
        named: dict[str, Any] = {}
        for node in tree.keywords:
            if node.arg is None:
                raise ConfigurationError("name each argument: ** is not taken here")
            where = f"{name}({node.arg})"
            named[node.arg] = read_literal(_literal(node.value), hint_of(method, node.arg), where)
        return remote, name, positional, named

    def _target(self, node: ast.expr) -> tuple[RemoteObject, str]:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self._object(node.value.id), node.attr
        if isinstance(node, ast.Name) and len(self._objects) == 1:
            return next(iter(self._objects.values())), node.id
        raise ConfigurationError(f"say which object's method: one of {', '.join(self._objects)}")

    def _object(self, name: str) -> RemoteObject:
        if name in self._objects:
            return self._objects[name]
        alike = [each for each in self._objects if each.lower() == name.lower()]
        if len(alike) != 1:
            known = ", ".join(self._objects)
            raise ConfigurationError(f"there is no object {name!r}: there are {known}")
        return self._objects[alike[0]]

    def _help(self, topic: str) -> str:
        if not topic:
            lines = [f"{name}: {', '.join(each.methods)}" for name, each in self._objects.items()]
            return "\n".join([HELP, "", *lines])
        name, _, method = topic.rpartition(".")
        remote = self._object(name or topic)
        if not name:
            return "\n".join([remote.description.doc, *_signatures(remote)]).strip()
        text = remote.method(method).text
        doc = remote.methods[method].doc
        return f"{text}\n\n{doc}" if doc else text


def _signatures(remote: RemoteObject) -> list[str]:
    return [method.text.partition(" where ")[0] for method in remote.interface.methods.values()]


def _literal(node: ast.expr) -> object:
    try:
        value: object = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        text = ast.unparse(node)
        raise ConfigurationError(f"{text} is no literal: only values can be given") from error
    return value


def completions(line: str, objects: dict[str, RemoteObject]) -> Sequence[tuple[int, str, str]]:
    """Return what could stand at the end of `line`.

    Each is how many characters it replaces, the text, and what it is.
    """
    before, parenthesis, within = line.partition("(")
    if parenthesis:
        return _parameters(before, within, objects)
    name, dot, start = before.rpartition(".")
    if dot:
        remote = objects.get(name.removeprefix("help ").strip())
        methods = remote.interface.methods.values() if remote is not None else ()
        return [
            (len(start), f"{method.name}(", method.text.partition(" where ")[0])
            for method in methods
            if method.name.startswith(start)
        ]
    start = before.removeprefix("help ")
    found = [
        (len(start), f"{name}.", _first_line(remote.description.doc))
        for name, remote in objects.items()
        if name.startswith(start)
    ]
    return found + [(len(start), each, "") for each in COMMANDS if each.startswith(before)]


def _parameters(
    before: str, within: str, objects: dict[str, RemoteObject]
) -> Sequence[tuple[int, str, str]]:
    name, _, method_name = before.strip().rpartition(".")
    remote = objects.get(name)
    method = remote.interface.methods.get(method_name) if remote is not None else None
    start = within.rpartition(",")[2].lstrip()
    if method is None or not (start.isidentifier() or not start):
        return []
    return [
        (len(start), f"{parameter.name}=", inspect.formatannotation(parameter.annotation))
        for parameter in method.signature.parameters.values()
        if parameter.kind is not parameter.POSITIONAL_ONLY and parameter.name.startswith(start)
    ]


def _first_line(text: str) -> str:
    return text.partition("\n")[0]

"""The references that two peers of one session hold of each other's objects.

Each side numbers the objects that it lets go out, and keeps them until the other has let go of as
many references as it got. A reference that comes home is the object itself; one that comes again is
the stub that is there already. Thread-safe: values are turned where calls are made. It decides
neither when a peer counts as gone nor how it is told: see `on_release`, and `clear`.
"""

import inspect
import threading
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from liferaft.errors import InvalidArgument, NoSuchObject, Overloaded
from liferaft.rpc.codec import of_a_call
from liferaft.rpc.interface import Interface, MethodSignature, is_awaited
from liferaft.rpc.reference_types import ReferenceTarget

REFERENCES_MAX: Final = 131_072
"""Objects that one side may hold of the other: one that never lets go must not go on for ever."""

RELEASE_OBJECT: Final = "#0"
"""What is called, at the end of an object's name, to let go of references; others begin at 1."""


class Releases(Protocol):
    """What each side offers the other, whatever objects there are."""

    async def release(self, dropped: list[tuple[int, int]]) -> None:
        """Let go of references: which, and how often they had come."""


RELEASES: Final = Interface.of(Releases)
RELEASE: Final = RELEASES.methods["release"]

HOST_LEASE: Final = 60.0
"""Seconds without a word of a caller, after which its references count as dropped. A caller that is
there says something every five seconds."""
CALLER_LEASE: Final = 30.0
"""Seconds without a word of the host, after which a caller drops its references. It is the shorter
of the two, so that a host never forgets what the caller still counts on."""


class Target(NamedTuple):
    """What may be called: the methods, and the function of each, with whether it is awaited.

    `interfaces` names the interface that a method is of; what is ours, and interceptors are not to
    see, is of none.
    """

    methods: Mapping[str, MethodSignature]
    functions: Mapping[str, tuple[Callable[..., Any], bool]]
    interfaces: Mapping[str, str]


class Exported:
    """An object that the peer may call, and through which methods."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.count = 0
        self.target = Target({}, {}, {})

    def offer(self, interface: Interface) -> None:
        """Let the methods of one more interface be called."""
        found: dict[str, tuple[Callable[..., Any], bool]] = {}
        for name, method in interface.methods.items():
            function = self.value if interface.is_function else getattr(self.value, name)
            is_async = is_awaited(function)
            if interface.is_function and method.is_async and not is_async:
                function, is_async = _awaiting(function), True
            found[name] = (function, is_async)
        methods, functions, interfaces = self.target
        self.target = Target(
            {**methods, **interface.methods},
            {**functions, **found},
            {**interfaces, **dict.fromkeys(interface.methods, interface.name)},
        )


def _awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is awaited for one that gives something to await: a lambda, say."""

    async def call(*values: Any) -> Any:
        result = function(*values)
        return await result if inspect.isawaitable(result) else result

    return call


class ReferenceTable:
    """The references of one session at one side.

    `make_stub` makes what stands for the peer's object of a number, and `on_release` is called,
    from any thread, when `take_released` has something to tell the peer.
    """

    def __init__(
        self,
        *,
        make_stub: Callable[[int, Interface], Any],
        on_release: Callable[[], None],
        first_number: int = 1,
    ) -> None:
        self._make_stub = make_stub
        self._on_release = on_release
        self._lock = threading.RLock()
        self._next = first_number
        self._exports: dict[int, Exported] = {}
        self._numbers: dict[object, int] = {}
        self._imports: dict[tuple[int, ReferenceTarget], weakref.ref[Any]] = {}
        self._stub_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._counts: dict[int, _Count] = {}
        self._released: list[_Count] = []

    @property
    def next_number(self) -> int:
        """The number of the next object that is let out."""
        return self._next

    @property
    def export_count(self) -> int:
        """How many objects the peer holds."""
        return len(self._exports)

    @property
    def is_empty(self) -> bool:
        """Whether neither side holds anything of the other."""
        return not self._exports and not self._imports

    # Out.

    def arguments_out(
        self, method: MethodSignature, values: tuple[Any, ...]
    ) -> tuple[tuple[Any, ...], list[int]]:
        """Return arguments with numbers for references, and these numbers: home ones have a minus.

        Raises `InvalidArgument` for an object that is not what the annotation says.
        """
        out: list[int] = []
        try:
            return method.walk_arguments(values, lambda t, v: self._export(t, v, out)), out
        except BaseException:
            self.take_back(out)
            raise

    def result_out(self, method: MethodSignature, value: Any) -> tuple[Any, list[Any]]:
        """Return a result with numbers in the place of references, and the stubs that go home.

        Those must be held until the result has arrived: once they are let go of, the peer is told,
        and does not know any more what their numbers mean.
        """
        out: list[int] = []
        home: list[Any] = []

        def take(target: ReferenceTarget, reference: Any) -> int:
            number = self._export(target, reference, out)
            if number < 0:
                home.append(reference)
            return number

        try:
            return method.walk_result(value, take), home
        except BaseException:
            self.take_back(out)
            raise

    def take_back(self, numbers: list[int]) -> None:
        """Know that references which were let out have not reached the peer."""
        self.release([(number, 1) for number in numbers if number > 0])

    def release(self, dropped: list[tuple[int, int]]) -> None:
        """Let go of objects that the peer holds no longer."""
        with self._lock:
            for number, count in dropped:
                exported = self._exports.get(number)
                if exported is None:
                    continue
                exported.count -= count
                if exported.count <= 0:
                    del self._exports[number]
                    del self._numbers[_identity(exported.value)]

    def find(self, number: int) -> Exported:
        """Return what the peer may call under `number`; raises `NoSuchObject`."""
        exported = self._exports.get(number)
        if exported is None:
            raise NoSuchObject("what the reference leads to is gone: its lease ended, or its host")
        return exported

    def _export(self, target: ReferenceTarget, value: Any, out: list[int]) -> int:
        interface = Interface.of_target(target)
        with self._lock:
            home = self._stub_numbers.get(value) if _is_weakly_held(value) else None
            if home is not None:
                out.append(-home)
                return -home
            identity = _identity(value)
            number = self._numbers.get(identity)
            if number is None:
                _check(value, target, interface)
                if len(self._exports) >= REFERENCES_MAX:
                    text = f"the peer holds {REFERENCES_MAX} references already"
                    raise of_a_call(Overloaded(text))
                number, self._next = self._next, self._next + 1
                self._exports[number] = Exported(value)
                self._numbers[identity] = number
            exported = self._exports[number]
            if not interface.methods.keys() <= exported.target.methods.keys():
                _check(value, target, interface)
                exported.offer(interface)
            exported.count += 1
            out.append(number)
            return number

    # In.

    def arguments_in(self, method: MethodSignature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments with stubs, or our own objects, in the place of numbers.

        Raises `InvalidArgument` for the number of an object of ours that is gone; then nothing has
        come in.
        """
        came: list[tuple[int, Any]] = []

        def take(target: ReferenceTarget, number: Any) -> Any:
            reference = self._import(target, number)
            came.append((number, reference))
            return reference

        try:
            return method.walk_arguments(values, take)
        except InvalidArgument:
            self._give_back([number for number, _ in came])
            raise

    def not_taken(self, method: MethodSignature, values: tuple[Any, ...]) -> None:
        """Know that a call was turned away whose arguments had come in: their numbers are given.

        The peer takes its references back then, or sends them again: it must not be told that they
        were let go of. Stubs that were made of them must live still.
        """
        numbers: list[int] = []
        method.walk_arguments(values, lambda _, number: numbers.append(number))
        self._give_back(numbers)

    def _give_back(self, numbers: list[int]) -> None:
        with self._lock:
            for number in numbers:
                count = self._counts.get(number)
                if count is not None:
                    count.times -= 1

    def result_in(self, method: MethodSignature, value: Any) -> Any:
        """Return a result with stubs, or our own objects, in the place of numbers."""
        return method.walk_result(value, self._import)

    def take_released(self) -> list[tuple[int, int]]:
        """Return the references that were let go of here since, and how often each had come."""
        with self._lock:
            released, self._released = self._released, []
            return [(count.number, count.times) for count in released if count.times]

    def release_number(self, number: int) -> None:
        """Let go of a reference now, whoever holds stubs of it."""
        with self._lock:
            count = self._counts.get(number)
            if count is None:
                return
            for key in [key for key in self._imports if key[0] == number]:
                stub = self._imports.pop(key)()
                if stub is not None:
                    self._stub_numbers.pop(stub, None)
            self._dropped(count)

    def clear(self, kept: Sequence[int] = ()) -> None:
        """Forget everything: the peer is gone, or has forgotten.

        Our objects of the numbers that are `kept` are still to be let out, as often as given.
        """
        with self._lock:
            exports, self._exports = self._exports, {}
            self._numbers.clear()
            for number in kept:
                exported = exports.get(number)
                if exported is None:
                    continue  # the peer has let go of more than it got
                if number not in self._exports:
                    self._exports[number], exported.count = exported, 0
                    self._numbers[_identity(exported.value)] = number
                exported.count += 1
            self._imports.clear()
            self._stub_numbers.clear()
            self._counts.clear()
            self._released.clear()

    def _import(self, target: ReferenceTarget, number: Any) -> Any:
        if number < 0:
            try:
                return self.find(-number).value
            except NoSuchObject as error:
                raise of_a_call(InvalidArgument(str(error))) from error
        with self._lock:
            held = self._imports.get((number, target))
            stub = None if held is None else held()
            count = self._counts.get(number)
            if count is None:
                count = self._counts[number] = _Count(number)
            count.times += 1
            if stub is not None:
                return stub
            stub = self._make_stub(number, Interface.of_target(target))
            count.stubs += 1
            self._imports[number, target] = weakref.ref(stub)
            self._stub_numbers[stub] = number
            weakref.finalize(stub, self._collected, count, target).atexit = False
            return stub

    def _collected(self, count: "_Count", target: ReferenceTarget) -> None:
        """Learn that a stub is gone; called by the garbage collector, in any thread."""
        with self._lock:
            held = self._imports.get((count.number, target))
            if held is not None and held() is None:
                del self._imports[count.number, target]
            count.stubs -= 1
            if not count.stubs:
                self._dropped(count)

    def _dropped(self, count: "_Count") -> None:
        if self._counts.get(count.number) is count:
            del self._counts[count.number]
            self._released.append(count)
            self._on_release()


class _Count:
    """How often a reference has come, and how many stubs stand for it."""

    __slots__ = ("number", "stubs", "times")

    def __init__(self, number: int) -> None:
        self.number = number
        self.times = 0
        self.stubs = 0


def _identity(value: object) -> object:
    """Return what is the same for the same object: a method is a new one each time it is named."""
    if isinstance(value, types.MethodType):
        return (id(value.__self__), id(value.__func__))
    return id(value)


def _is_weakly_held(value: object) -> bool:
    return getattr(type(value), "__weakref__", None) is not None and _is_stub(value)


def _is_stub(value: object) -> bool:
    return hasattr(type(value), "_liferaft")


def _check(value: object, target: ReferenceTarget, interface: Interface) -> None:
    """Raise `InvalidArgument` when an object is not what its annotation says."""
    if interface.is_function:
        if not callable(value):
            raise InvalidArgument(f"{value!r} is no function: {_shown(interface)} is wanted")
        return
    try:
        interface.check_implementation(value)
    except TypeError as error:
        raise InvalidArgument(f"a {target.name} is wanted: {error}") from error


def _shown(interface: Interface) -> str:
    return interface.methods["call"].text

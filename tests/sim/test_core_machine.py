"""The registers of the core fidelity, and what a snapshot of them has to hold."""

from liferaft.sim.core_machine import OLD_COPY, Command, RegisterMachine, encode_command


def command(number: int, *, acked_below: int = 1, key: int = 1) -> bytes:
    return encode_command(Command(1, number, acked_below, key))


def test_a_restored_machine_answers_as_the_one_that_it_is_of() -> None:
    one, other = RegisterMachine(), RegisterMachine()
    for number in (1, 2, 3):
        one.apply(command(number))
    one.apply(command(4, acked_below=3))
    other.restore(one.encoded())

    assert one.state() == other.state()
    for number, version in ((4, 4), (3, 3), (1, OLD_COPY), (5, 5)):
        assert version == one.apply(command(number)) == other.apply(command(number))
    assert one.encoded() == other.encoded()

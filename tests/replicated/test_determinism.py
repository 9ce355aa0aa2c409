"""Time and chance come from the log while a command runs, and from the machine otherwise."""

import time

from liferaft.replicated.determinism import CommandContext, now, random, uuid4


def test_a_command_s_time_is_the_log_s() -> None:
    with CommandContext(wall_now=12.5, seed=1):
        seen = now()

    assert 12.5 == seen


def test_the_same_seed_gives_every_replica_the_same_chance() -> None:
    def draw() -> tuple[float, float, str]:
        with CommandContext(wall_now=0.0, seed=42):
            return random(), random(), str(uuid4())

    assert draw() == draw()


def test_another_seed_gives_another_chance() -> None:
    with CommandContext(wall_now=0.0, seed=1):
        one = uuid4()
    with CommandContext(wall_now=0.0, seed=2):
        other = uuid4()

    assert one != other


def test_a_drawn_uuid_is_a_valid_version_4() -> None:
    with CommandContext(wall_now=0.0, seed=7):
        drawn = uuid4()

    assert (4, "specified in RFC 4122") == (drawn.version, drawn.variant)


def test_a_wall_clock_at_zero_is_still_the_log_s() -> None:
    with CommandContext(wall_now=0.0, seed=1):
        assert 0.0 == now()


def test_outside_of_a_command_time_and_chance_are_the_machine_s() -> None:
    before = time.time()

    assert before <= now() <= time.time()
    assert uuid4() != uuid4()


def test_a_command_inside_a_command_gives_the_outer_one_back() -> None:
    with CommandContext(wall_now=1.0, seed=1):
        with CommandContext(wall_now=2.0, seed=1):
            assert 2.0 == now()
        assert 1.0 == now()

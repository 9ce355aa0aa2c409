"""How a simulation says that a promise was broken: the same for both fidelities."""

from liferaft.errors import LiferaftError


class SimulationFailed(LiferaftError):
    """A promise was broken. `seed` and `violation` say which; the message how to repeat the run.

    `steps` are the number and the time of each fault of the run's schedule.
    """

    def __init__(
        self,
        seed: int,
        violation: str,
        command: str,
        steps: tuple[tuple[int, float], ...] = (),
    ) -> None:
        super().__init__(f"seed {seed}: {violation}\nrepeat it: {command}")
        self.seed = seed
        self.violation = violation
        self.command = command
        self.steps = steps

    @property
    def violated_property(self) -> str:
        """The name of the promise: what stands before the first colon of the violation."""
        return self.violation.partition(":")[0]

"""All of it, for as long as it is given: rounds of faults, crash-point sweeps and power cuts."""

from pathlib import Path
from typing import Final

import msgspec

from liferaft.chaos.narrator import Narrator
from liferaft.chaos.needs import Need, lacking
from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.points import ALL, calls_of
from liferaft.chaos.power import PowerCuts, PowerOptions, PowerReport
from liferaft.chaos.report import Report, SoakReport
from liferaft.chaos.run import run_rounds
from liferaft.chaos.sweep import Sweep, SweepOptions, SweepReport

ROUNDS_SHARE: Final = 0.5
"""How much of the time goes to rounds; the two kinds of sweeps and of power cuts share the rest."""

POINTS_PER_SECOND: Final = 2.0
"""About what one core tries; more are planned than fit rather than fewer."""


class Soak:
    """One soak in a directory."""

    def __init__(self, options: ChaosOptions, directory: Path, narrator: Narrator) -> None:
        self._options = options
        self._directory = directory
        self._narrator = narrator
        self._share = options.seconds * (1 - ROUNDS_SHARE) / 4
        self._skipped: dict[str, str] = {}

    async def run(self) -> SoakReport:
        """Run all that this machine can do; raises `ToolFailed`."""
        seconds = self._options.seconds * ROUNDS_SHARE
        rounds = await run_rounds(
            msgspec.structs.replace(self._options, seconds=seconds),
            self._directory / "rounds",
            self._narrator,
        )
        sweeps = [
            await self._sweep(has_power_cuts=has_power_cuts)
            for has_power_cuts in (False, True)
            if self._can(
                "the crash-point sweep" + (" with power cuts" if has_power_cuts else ""),
                (Need.STRACE, Need.LOOP) if has_power_cuts else (Need.STRACE,),
            )
        ]
        power = [
            await self._cut_power(all_nodes=all_nodes)
            for all_nodes in (False, True)
            if self._can(f"power cuts of {'all nodes' if all_nodes else 'one node'}", (Need.LOOP,))
        ]
        parts: tuple[Report, ...] = (rounds, *sweeps, *power)
        return SoakReport(
            is_ok=all(part.is_ok for part in parts),
            rounds=rounds,
            sweeps=tuple(sweeps),
            power=tuple(power),
            skipped=self._skipped,
        )

    def _can(self, name: str, needs: tuple[Need, ...]) -> bool:
        reason = lacking(needs)
        if reason:
            self._skipped[name] = reason
            self._narrator.tell(0.0, f"not tried: {name}, because {reason}")
        return not reason

    async def _sweep(self, *, has_power_cuts: bool) -> SweepReport:
        options = SweepOptions(
            calls_of([ALL]),
            points_max=max(1, round(self._share * POINTS_PER_SECOND)),
            has_power_cuts=has_power_cuts,
            seed=self._options.seed,
            seconds=self._share,
        )
        name = "sweep-with-power-cuts" if has_power_cuts else "sweep"
        return await Sweep(options, self._directory / name, self._narrator.tell).run()

    async def _cut_power(self, *, all_nodes: bool) -> PowerReport:
        options = PowerOptions(
            cuts=10**9, all_nodes=all_nodes, seed=self._options.seed, seconds=self._share
        )
        name = "power-of-all" if all_nodes else "power-of-one"
        return await PowerCuts(options, self._directory / name, self._narrator.tell).run()

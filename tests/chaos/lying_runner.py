"""The sweep's script on a disk whose syncs do nothing."""

import runpy

import tests.chaos.liar as _  # noqa: F401 - which tells the lie

if __name__ == "__main__":
    runpy.run_module("liferaft.chaos.sweep_runner", run_name="__main__")

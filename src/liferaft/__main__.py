"""`python -m liferaft` is the command `liferaft`."""

from liferaft.cli.main import main

if __name__ == "__main__":
    main()

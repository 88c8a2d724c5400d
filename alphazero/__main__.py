"""``python -m alphazero`` and the command ``alphazero``: the command line of ``workers.cli``.

This is the only module of ``alphazero`` that imports ``workers``.
"""

import sys

from alphazero import packages


def main() -> int:
    """Run one command; the process's exit status. See ``workers.cli.main``."""
    packages.check("configs", "workers")
    from workers import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m edgekd` is `edgekd`."""

from edgekd.cli.main import main

main()

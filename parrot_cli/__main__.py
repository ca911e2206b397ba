"""`python -m parrot_cli`: the `parrot` program, for launchers that start modules."""

from parrot_cli.app import main

main()

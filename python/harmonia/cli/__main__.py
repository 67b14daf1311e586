"""`python -m harmonia.cli` is `harmonia`."""

from harmonia.cli.main import main

main()

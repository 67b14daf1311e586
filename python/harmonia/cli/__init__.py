"""The command line: `harmonia`."""

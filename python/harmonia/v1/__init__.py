"""Generated from proto/harmonia/v1 by `python3 run.py stubs`. Only rpc/ and client/ may import it."""

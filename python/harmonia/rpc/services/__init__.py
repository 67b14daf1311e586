"""One file a service, a few lines a method: parse, call, answer."""

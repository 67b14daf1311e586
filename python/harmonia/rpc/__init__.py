"""The sanctuary's API over gRPC: parse, call the engine, answer."""

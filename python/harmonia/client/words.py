"""Numbers as people read them."""


def seconds_text(span_s: float) -> str:
    """A length of time as h:mm:ss."""
    whole_s = max(0, round(span_s))
    return f"{whole_s // 3600}:{whole_s // 60 % 60:02}:{whole_s % 60:02}"


def error_text(span_ns: float) -> str:
    """A clock error or bound in the unit that a person reads best."""
    if abs(span_ns) < 1e6:
        return f"{span_ns / 1e3:.1f} µs"
    return f"{span_ns / 1e6:.2f} ms" if abs(span_ns) < 1e9 else f"{span_ns / 1e9:.2f} s"

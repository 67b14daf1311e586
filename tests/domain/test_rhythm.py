"""Laws of the rhythm, and its agreement with the core bit for bit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.rhythm import Rhythm, Segment, offset_from_turns
from harmonia.errors import BadInput

hertz = st.floats(-2000, 2000)
times = st.integers(-(10**15), 10**15)
steps = st.lists(st.tuples(st.integers(1, 10**13), hertz, st.just(0) | st.integers(1, 10**13)), max_size=6)


def build(start_ns: int, first_hz: float, changes: list[tuple[int, float, int]]) -> Rhythm:
    rhythm, t = Rhythm.constant(start_ns, first_hz, 12345), start_ns
    for gap_ns, to_hz, ramp_ns in changes:
        t += gap_ns
        rhythm = rhythm.with_segment(rhythm.continue_at(t, to_hz, ramp_ns))
    return rhythm


@given(times, hertz, steps)
def test_segments_join_without_a_jump(start_ns: int, first_hz: float, changes: list[tuple[int, float, int]]) -> None:
    rhythm = build(start_ns, first_hz, changes)
    for earlier, later in zip(rhythm.segments, rhythm.segments[1:], strict=False):
        assert earlier.phase_at(later.start_ns) == later.phase == rhythm.phase_at(later.start_ns)


@given(times, hertz, hertz, st.integers(1, 10**13), st.integers(0, 10**12))
def test_a_ramp_reaches_its_target_and_stays(start_ns: int, f: float, g: float, ramp_ns: int, later_ns: int) -> None:
    rhythm = build(start_ns, f, [(1, g, ramp_ns)])
    end_ns = start_ns + 1 + ramp_ns
    assert math.isclose(rhythm.frequency_hz_at(end_ns), g, abs_tol=1e-9)
    assert rhythm.frequency_hz_at(end_ns + later_ns) == rhythm.frequency_hz_at(end_ns)


@given(times, hertz, steps, times)
def test_it_agrees_with_the_core_bit_for_bit(
    start_ns: int, first_hz: float, changes: list[tuple[int, float, int]], t_ns: int
) -> None:
    core = pytest.importorskip("harmonia._core")
    rhythm = build(start_ns, first_hz, changes)
    other = core.Rhythm.constant(start_ns, first_hz, 12345)
    t = start_ns
    for gap_ns, to_hz, ramp_ns in changes:
        t += gap_ns
        other = other.continue_at(t, to_hz, ramp_ns)
    assert [Segment(*segment) for segment in other.segments] == list(rhythm.segments)
    assert other.phase_at(t_ns) == rhythm.phase_at(t_ns)


@given(st.floats(-1e9, 1e9))
def test_an_offset_is_the_nearest_way_round(turns: float) -> None:
    bits = offset_from_turns(turns)
    assert -(2**63) <= bits < 2**63
    difference = turns - bits / 2**64
    assert abs(difference - round(difference)) < 1e-6


def test_half_a_turn_either_way_is_the_same_place() -> None:
    assert offset_from_turns(0.5) == offset_from_turns(-0.5) == -(2**63)
    assert offset_from_turns(0.25) == 2**62


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_refused(bad: float) -> None:
    with pytest.raises(BadInput, match="finite number of turns"):
        offset_from_turns(bad)
    with pytest.raises(BadInput, match="number of hertz"):
        Rhythm.constant(0, bad)


def test_the_past_is_not_rewritten() -> None:
    rhythm = Rhythm.constant(10, 4.0)
    for start_ns in (9, 10):
        with pytest.raises(BadInput, match="must start after 10 ns"):
            rhythm.continue_at(start_ns, 5.0, 0)
    with pytest.raises(BadInput, match="at least one segment"):
        Rhythm(())

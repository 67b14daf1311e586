"""Laws of the weave: nobody else moves a sleeper's frequency, coupling or offset; nothing makes a phase jump."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import circle as circles
from harmonia.domain import sleeper as sleepers
from harmonia.domain.circle import Circle, decide_offer, decide_rhythm, decide_weaving
from harmonia.domain.consent import Grant, Purpose
from harmonia.domain.events import (
    CircleAdvanced,
    CircleCreated,
    CircleEvent,
    CouplingSet,
    OffsetSet,
    RhythmOwned,
    SleeperJoined,
    decode,
    encode,
)
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.sleeper import Sleeper
from harmonia.domain.states import CircleState
from harmonia.domain.weaving import CircleMode, OwnRhythm, Thread, Weaving, offered_to, woven
from harmonia.errors import BadInput, HarmoniaError

S = 1_000_000_000
TURN = 1 << 64
K = 2.0


def dreaming(mode: CircleMode = CircleMode.WOVEN) -> Circle:
    created = CircleCreated("c", "t", "s", "toml", "", 1, None, 9, None, None, 0, mode, K, 0.0)
    advanced = CircleAdvanced(CircleState.ENTRAINING, 0, 0, Rhythm.constant(0, 4.0).segments)
    return circles.apply(circles.apply(None, created), advanced)


def lying() -> Sleeper:
    sleeper = sleepers.apply(None, SleeperJoined("c", "s", b"t", b"c", b"k", 0))
    owned = OwnRhythm().led(Rhythm.constant(0, 4.0), 0.25, 10 * S, 0, 2 * S)
    for event in (RhythmOwned(owned.segments, owned.home_ns, 0), CouplingSet(0.5, 0.75, 0), OffsetSet(12345, 0)):
        sleeper = sleepers.apply(sleeper, event)
    return sleeper


def own_of(sleeper: Sleeper) -> tuple[object, ...]:
    return sleeper.own_rhythm, sleeper.coupling, sleeper.weight, sleeper.offset


wishes = st.lists(
    st.one_of(
        st.tuples(st.just("mode"), st.sampled_from(CircleMode)),
        st.tuples(st.just("strength"), st.floats(allow_nan=True)),
        st.tuples(st.just("rhythm"), st.floats(-1000, 1000)),
        st.tuples(st.just("offer"), st.lists(st.floats(-2, 2), max_size=5)),
        st.tuples(st.just("state"), st.sampled_from(CircleState)),
    ),
    max_size=30,
)


def host(circle: Circle, deed: str, wish: object, t_ns: int) -> CircleEvent:
    match deed, wish:
        case "mode", CircleMode():
            return decide_weaving(circle, wish, None, t_ns)
        case "strength", float():
            return decide_weaving(circle, None, wish, t_ns)
        case "rhythm", float():
            return decide_rhythm(circle, wish, 0, t_ns)
        case "offer", list():
            return decide_offer(circle, wish, t_ns)
        case _, CircleState():
            return circles.decide_advance(circle, wish, t_ns, lambda at: Rhythm.constant(at, 4.0))
    raise AssertionError(deed)


@given(wishes)
def test_no_sequence_of_a_hosts_wishes_changes_a_sleepers_own(deeds: list[tuple[str, object]]) -> None:
    circle, sleeper = dreaming(), lying()
    before, strength = own_of(sleeper), K
    sleeper = replace(sleeper, consent=sleeper.consent.grant(Purpose.PULL, Grant(b"g" * 16, level=0.25), b""))
    timeline = sleeper.own_rhythm.over(Rhythm.constant(0, 4.0))
    assert timeline is not None
    for i, (deed, wish) in enumerate(deeds):
        t_ns = (i + 1) * 60 * S
        try:
            circle = circles.apply(circle, host(circle, deed, wish, t_ns))
        except HarmoniaError:
            continue
        assert circle.weaving.strength_rad_s <= strength, "the strength only falls"
        strength = circle.weaving.strength_rad_s
        coupling, weight = sleeper.bond(circle, t_ns)
        assert coupling in (0.0, 0.25), "never more than was set, nor than is allowed"
        assert weight in (0.0, 0.75)
        assert own_of(sleeper) == before
        assert circle.rhythm is not None
        later = sleeper.own_rhythm.over(circle.rhythm)
        assert later is not None
        assert later.phase_at(t_ns) == timeline.phase_at(t_ns), "their timeline is theirs"


def test_without_pull_a_coupling_counts_for_nothing() -> None:
    circle, sleeper = dreaming(), replace(lying(), coupling=1.0)
    assert sleeper.bond(circle, 0) == (0.0, 0.0)
    granted = replace(sleeper, consent=sleeper.consent.grant(Purpose.PULL, Grant(b"g" * 16), b""))
    assert granted.bond(circle, 0) == (1.0, 0.75)
    withdrawn = replace(granted, consent=granted.consent.withdraw([Purpose.PULL], b"w" * 16))
    assert withdrawn.bond(circle, 0) == (0.0, 0.0)


@pytest.mark.parametrize("mode", CircleMode)
def test_only_a_woven_circle_pulls(mode: CircleMode) -> None:
    assert dreaming(mode).weaving.pulling_rad_s == (K if mode is CircleMode.WOVEN else 0.0)


changes = st.lists(st.tuples(st.one_of(st.none(), st.floats(-50, 50)), st.integers(0, 40 * S), st.integers(1, 60 * S)))


@given(changes)
def test_a_rhythm_of_ones_own_never_jumps_and_keeps_what_was_published(
    deeds: list[tuple[float | None, int, int]],
) -> None:
    circle = Rhythm.constant(0, 4.0)
    circle = circle.with_segment(circle.continue_at(30 * S, 5.0, 20 * S))
    own, t_ns = OwnRhythm(), 0
    for hertz, ramp_ns, wait_ns in deeds:
        t_ns += wait_ns
        start_ns = t_ns + circles.LEAD_NS
        before = own.over(circle) or circle
        if hertz is None:
            own = own.led_home(circle, ramp_ns, t_ns, start_ns)
        else:
            own = own.led(circle, hertz, ramp_ns, t_ns, start_ns)
        after = own.over(circle) or circle
        for at in (t_ns, (t_ns + start_ns) // 2, start_ns):
            assert near(after.phase_at(at), before.phase_at(at)), "nothing published is rewritten"
        for segment in after.segments[1:]:
            joint = [near(after.phase_at(segment.start_ns - 1), segment.phase_at(segment.start_ns - 1))]
            assert all(joint), "no jump where segments meet"


def near(a: int, b: int) -> bool:
    """Within what 1 ns at 50 Hz comes to."""
    return abs((a - b + TURN // 2) % TURN - TURN // 2) < TURN * 1.1e-7


@given(st.floats(-50, 50), st.integers(0, 60 * S))
def test_who_goes_home_is_on_the_circles_rhythm_and_stays_there(hertz: float, ramp_ns: int) -> None:
    circle = Rhythm.constant(0, 4.0)
    away = OwnRhythm().led(circle, hertz, 5 * S, 0, 2 * S)
    home = away.led_home(circle, ramp_ns, 60 * S, 62 * S)
    assert home.home_ns is not None
    timeline = home.over(circle)
    assert timeline is not None
    way = timeline.segment_at(home.home_ns - 1)
    assert abs(way.frequency_at(home.home_ns - 1) / (TURN * TURN) * 1e9 - 4.0) <= 0.0501
    led = circle.with_segment(circle.continue_at(home.home_ns + 3 * S, 6.0, 10 * S))
    for later in (1, 5 * S, 3600 * S):
        at = home.home_ns + later
        there = home.over(led)
        assert there is not None
        assert abs((there.phase_at(at) - led.phase_at(at) + 8) % TURN) <= 16, "to the last bits"


@pytest.mark.parametrize("hertz", [50.1, -51.0, math.nan, math.inf])
def test_no_rhythm_that_nobody_could_have(hertz: float) -> None:
    with pytest.raises(BadInput, match="from -50 to 50"):
        OwnRhythm().led(Rhythm.constant(0, 4.0), hertz, 0, 0, 2 * S)


@pytest.mark.parametrize("strength", [K + 0.001, -1.0, math.nan, math.inf])
def test_a_strength_can_only_be_lowered(strength: float) -> None:
    with pytest.raises(BadInput, match="only be lowered"):
        decide_weaving(dreaming(), None, strength, 0)


def test_an_offer_is_dealt_round_and_moves_nobody() -> None:
    circle = circles.apply(dreaming(), decide_offer(dreaming(), [0.0, 0.25, 0.5], 0))
    quarter = TURN // 4
    assert [offered_to(circle.offered, place) for place in range(4)] == [0, quarter, -2 * quarter, 0]
    over = circles.apply(circle, decide_offer(circle, [], 1))
    assert offered_to(over.offered, 0) is None


def test_what_unity_costs() -> None:
    threads = [Thread(4.0, 4.0, 0.0), Thread(4.02, 4.0, 0.1), Thread(4.4, 4.1, 0.2), Thread(0.0, 0.0, 0.3)]
    seen = woven(9, 0.7, threads, 4.2)
    assert (seen.sleepers, seen.unity) == (9, 0.7)
    assert seen.by_chance == pytest.approx(math.sqrt(math.pi) / 6)
    assert seen.actual is not None
    assert (seen.actual.unity, seen.actual.individuality) == (0.7, 0.75)
    assert seen.actual.mean_pull == pytest.approx(0.15)
    assert seen.standard is not None
    assert seen.standard.unity == 1.0
    assert seen.standard.individuality == 0.0
    # Whoever stands still would be turned at 4.2 Hz: weighed against 0.06 rad/s, not against 0.
    forced = [0.2 / 4.0, 0.18 / 4.02, 0.2 / 4.4, 2 * math.pi * 4.2 / 0.06]
    assert seen.standard.mean_pull == pytest.approx(sum(forced) / 4)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_people_are_no_aggregate(count: int) -> None:
    seen = woven(9, 0.7, [Thread(4.0, 4.0, 0.5)] * count, 4.0)
    assert (seen.actual, seen.standard) == (None, None)


def test_a_circle_from_before_there_were_modes_is_standard() -> None:
    old = encode(CircleCreated("c", "t", "s", "toml", "", 1, None, 9, None, None, 0))
    for field in (b',"mode":"STANDARD"', b',"strength_rad_s":0.0', b',"lag_rad":0.0'):
        assert field in old
        old = old.replace(field, b"")
    old = old.replace(b'"v":2', b'"v":1')
    created = decode(old)
    assert isinstance(created, CircleCreated)
    assert circles.apply(None, created).weaving == Weaving()

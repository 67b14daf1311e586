"""Many sleepers in one call: numpy in and out, to the bit what each would hear alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia import _core


def score() -> _core.Score:
    return _core.Score.parse("night: 200+4/20 90+3/10\n\n00:00 night\n", "batch.sbg", "sbg")


def given_for(sleepers: int, channels: int, seed: int) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    own = dice.normal(size=(sleepers, channels)) + 1j * dice.normal(size=(sleepers, channels))
    return {"own": (own / 4).astype(np.complex64), "offsets": dice.uniform(-0.5, 0.5, sleepers)}


@settings(max_examples=10, deadline=None, print_blob=True)
@given(
    sleepers=st.integers(1, 5), frames=st.lists(st.integers(1, 1500), min_size=1, max_size=3), seed=st.integers(0, 99)
)
def test_each_row_is_to_the_bit_what_a_renderer_of_their_own_gives(sleepers: int, frames: list[int], seed: int) -> None:
    played, rate = score(), 48_000
    batch = _core.BatchRenderer(played, 0, rate, sleepers)
    alone = [_core.Renderer(played, 0, rate) for _ in range(sleepers)]
    rhythms = [_core.Rhythm.constant(0, 4.0 + 0.1 * i) for i in range(sleepers)]
    parts, done = given_for(sleepers, batch.channels, seed), 0
    for count in frames:
        node_ns = 1_000_000 + done * 1_000_000_000 // rate
        out = np.full((sleepers, 2, count), np.nan, np.float32)
        batch.render(node_ns, out, **parts, rhythms=rhythms)
        for i, renderer in enumerate(alone):
            wanted = renderer.render(
                node_ns, count, rhythm=rhythms[i], offset_turns=parts["offsets"][i], own=list(parts["own"][i])
            )
            assert np.array_equal(out[i].T, wanted)
        done += count


def test_persons_fade_in_and_a_closed_gate_is_silence() -> None:
    batch = _core.BatchRenderer(score(), 0, 48_000, 2, persons=True)
    out = np.ones((2, 2, 480), np.float32)
    batch.render(0, out, **given_for(2, batch.channels, 1), gates=np.array([True, False]))
    assert 0 < np.abs(out[0]).max() < 1e-2
    assert not out[1].any()


def test_a_ceiling_is_a_sleepers_own() -> None:
    batch = _core.BatchRenderer(score(), 0, 48_000, 2)
    out = np.empty((2, 2, 4800), np.float32)
    batch.render(0, out, **given_for(2, batch.channels, 1), ceilings_dbfs=np.array([-60, 0], np.float32))
    assert np.abs(out[0]).max() <= 1e-3 < np.abs(out[1]).max()


def refused(kind: type[Exception], **change: Any) -> str:
    batch = _core.BatchRenderer(score(), 0, 48_000, 3)
    arguments = {"out": np.zeros((3, 2, 64), np.float32), **given_for(3, batch.channels, 0), **change}
    with pytest.raises(kind) as error:
        batch.render(0, **arguments)
    return str(error.value)


def test_what_does_not_fit_is_refused_in_one_clear_line() -> None:
    zeros = np.zeros
    assert refused(TypeError, out=[1.0]) == "out must be a numpy array of float32, not list"
    assert "out must be of float32, not float64; convert" in refused(TypeError, out=zeros((3, 2, 64)))
    assert (
        refused(ValueError, out=zeros((2, 2, 64), np.float32)) == "out must have the shape [3, 2, 64], not [2, 2, 64]"
    )
    assert "the shape [3, 2, 0], not [3, 64]" in refused(ValueError, out=zeros((3, 64), np.float32))
    gaps = zeros((3, 2, 128), np.float32)[:, :, ::2]
    assert "out must be C-contiguous" in refused(ValueError, out=gaps)
    assert "own must be of complex64, not complex128" in refused(TypeError, own=zeros((3, 2), np.complex128))
    assert "own must have the shape [3, 2], not [3, 5]" in refused(ValueError, own=zeros((3, 5), np.complex64))
    assert "own must be C-contiguous" in refused(ValueError, own=zeros((2, 3), np.complex64).T)
    assert "offsets must have the shape [3]" in refused(ValueError, offsets=zeros(2))
    assert "finite" in refused(_core.RhythmError, offsets=np.array([0, np.nan, 0]))
    assert "a rhythm for each of 3 sleepers, not 0" in refused(ValueError, rhythms=[])
    locked = zeros((3, 2, 64), np.float32)
    locked.setflags(write=False)
    assert "out must be writable" in refused(ValueError, out=locked)
    with pytest.raises(ValueError, match="from 8000 to 192000"):
        _core.BatchRenderer(score(), 0, 1, 1)
    with pytest.raises(ValueError, match="at most 1000000 sleepers"):
        _core.BatchRenderer(score(), 0, 48_000, 1_000_001)

"""What is asked of a circle that is over is refused in words or done in silence, also after a restart."""

import pytest

from harmonia.domain.states import CircleState
from harmonia.errors import NotNow
from tests.engine.nights import House, in_virtual_time


def test_a_circle_that_was_closed_before_a_restart_is_said_to_be_over() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await conductor.advance(CircleState.CLOSED)
        async with house.awake() as again:
            for state in (CircleState.ENTRAINING, CircleState.CLOSED):
                with pytest.raises(NotNow, match="it is over"):
                    await again.conductor(conductor.circle.circle_id).advance(state)

    in_virtual_time(scenario)


def test_an_alarm_is_lifted_after_its_circle_has_closed() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await conductor.advance(CircleState.ENTRAINING)
            silence = await conductor.stewarding.silence("", True, "host")
            await conductor.advance(CircleState.CLOSED)
            assert conductor.circle.silence == silence
            await conductor.stewarding.lift(silence.silence_id, "host")
            assert conductor.circle.silence is None

    in_virtual_time(scenario)

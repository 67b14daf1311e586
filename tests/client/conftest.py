from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.client.house import FakeCore, House

# A busy machine is no reason to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def house() -> Iterator[House]:
    house = House()  # type: ignore[abstract]  # the bases answer UNIMPLEMENTED for the rest
    yield house
    house.close()


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()

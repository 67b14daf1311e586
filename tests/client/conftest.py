from collections.abc import Iterator

import pytest

from tests.client.house import FakeCore, House


@pytest.fixture
def house() -> Iterator[House]:
    house = House()  # type: ignore[abstract]  # the bases answer UNIMPLEMENTED for the rest
    yield house
    house.close()


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()

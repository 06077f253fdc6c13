import pytest

from rig.wire import Wire

pytest_plugins = ["rig.fixtures"]


@pytest.fixture
def wire(emulator):
    wire = Wire(emulator)
    yield wire
    wire.stop()

"""Settings of a service."""

import pytest

from photovax.errors import UsageError
from photovax.service.settings import Settings
from photovax.service.workers.worker import pack, unpack


def test_settings_travel_to_workers(tmp_path):
    settings = Settings(tmp_path, weights=tmp_path, levels=4.0, recipes=("a", "b"), hosts=())
    assert unpack(pack(settings)) == settings
    with pytest.raises(UsageError):
        Settings(tmp_path, workers=0)

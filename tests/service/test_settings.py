"""Settings of a service."""

import pytest

from photovax.errors import UsageError
from photovax.service.settings import Settings
from photovax.service.workers.worker import pack, unpack


def test_settings_travel_to_workers(tmp_path):
    settings = Settings(
        tmp_path,
        weights=tmp_path,
        levels=4.0,
        recipes=("a", "b"),
        hosts=(),
        origins=("https://a.example",),
        root_path="/photos",
    )
    assert unpack(pack(settings)) == settings
    with pytest.raises(UsageError):
        Settings(tmp_path, workers=0)


@pytest.mark.parametrize("origin", ["*", "example.org", "https://example.org/", "null", ""])
def test_origins_are_a_scheme_and_a_host(tmp_path, origin):
    Settings(tmp_path, origins=("http://localhost:3000", "https://example.org"))
    with pytest.raises(UsageError, match="without a path"):
        Settings(tmp_path, origins=(origin,))


@pytest.mark.parametrize("path", ["photos", "/photos/", "/", "/a b", "/a//b", "https://a"])
def test_root_paths_begin_and_do_not_end_with_a_slash(tmp_path, path):
    Settings(tmp_path, root_path="/photos/vax")
    with pytest.raises(UsageError, match="begins with a slash"):
        Settings(tmp_path, root_path=path)

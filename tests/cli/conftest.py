"""Fixtures of the command line."""

import pytest

from photovax.cli import main


@pytest.fixture
def photovax(tmp_path, monkeypatch, capsys):
    """The command line in a folder of its own: exit code, what is printed, and what is said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["photovax", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    return run

"""What runs on Windows and macOS: all but the service, without what only POSIX or Linux has."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from photovax.cli import app
from photovax.errors import UsageError

# Modules and functions that Windows lacks; macOS lacks the last functions. Libraries may use them,
# as they look first where they are, so that they are hidden from photovax alone.
WITHOUT = """
import builtins, importlib, os, pkgutil, socket, signal, sys, time

MODULES = {
    *("fcntl", "resource", "pwd", "grp", "spwd", "crypt", "nis", "termios", "tty", "pty"),
    *("posix", "syslog", "readline", "curses"),
}
FUNCTIONS = {
    os: (
        *("fork", "getuid", "geteuid", "getgid", "getegid", "sysconf", "fchmod", "fchown"),
        *("chown", "mkfifo", "mknod", "nice", "setsid", "killpg", "uname", "statvfs", "pread"),
        *("wait3", "waitid", "WNOHANG", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK"),
        *("getloadavg", "openpty", "sched_getaffinity", "memfd_create", "copy_file_range"),
    ),
    signal: ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "alarm", "setitimer", "pthread_kill"),
    socket: ("AF_UNIX", "SO_REUSEPORT"),
    time: ("tzset", "clock_gettime"),
}


def own(name):
    return name.partition(".")[0] == "photovax"


def importing(name, globals=None, locals=None, fromlist=(), level=0):
    if name in MODULES and own((globals or {}).get("__name__", "")):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return given(name, globals, locals, fromlist, level)


given, builtins.__import__ = builtins.__import__, importing


class Without:
    def __init__(self, module, hidden):
        self._module, self._hidden = module, hidden

    def __getattr__(self, name):
        if name in self._hidden:
            raise AttributeError(f"module {self._module.__name__!r} has no attribute {name!r}")
        return getattr(self._module, name)


def hide():
    for module in list(sys.modules.values()):
        if own(getattr(module, "__name__", "")):
            for name, value in vars(module).copy().items():
                for whole, hidden in FUNCTIONS.items():
                    if value is whole:
                        setattr(module, name, Without(whole, hidden))
"""
EVERY = """
import photovax, photovax.cli
names = [
    found.name
    for found in pkgutil.walk_packages(photovax.__path__, "photovax.")
    if not found.name.startswith("photovax.service.")
]
for name in names:
    importlib.import_module(name)
"""
RUNNING = """
import json
from photovax.certificates import keys
hide()
try:
    keys.os.getuid()
except AttributeError as error:
    print(error, file=sys.stderr)
for sys.argv[1:] in json.loads(sys.argv[1]):
    try:
        photovax.cli.main()
    except SystemExit as ended:
        print(*sys.argv[1:3], "ended with", ended.code, file=sys.stderr)
"""


def run(code, *arguments, **options):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", WITHOUT + code, *arguments],
        capture_output=True,
        text=True,
        **options,
    )


def test_all_but_the_service_runs(photo_file, tmp_path):
    recipe = {"preset": "fast", "steps": 2, "size": 64}
    (tmp_path / "quick.json").write_text(json.dumps(recipe))
    commands = [
        ["immunize", "photo.jpg", "--recipe", "quick.json", "--device", "cpu"],
        ["models", "list"],
        ["register", "list", "--data", "data"],
        [
            *("certificate", "issue", "photo.immunized.png", "--original", "photo.jpg"),
            *("--data", "data", "--device", "cpu"),
        ],
        ["certificate", "rotate", "--data", "data"],
    ]
    done = run(EVERY + RUNNING, json.dumps(commands), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "module 'os' has no attribute 'getuid'" in done.stderr  # it is hidden indeed
    for command in commands:
        assert f"{' '.join(command[:2])} ended with 0" in done.stderr, done.stderr
    assert (tmp_path / "photo.immunized.png").exists()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_the_service_says_that_it_needs_linux(system, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", system)
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "data")])
    monkeypatch.undo()
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == f"the service needs Linux, got {system}"
    assert not (tmp_path / "data").exists()

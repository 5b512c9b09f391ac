import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

# Pages that are cleared by the system each time that tensors of 64 MB are filled, and resident
# memory once all is done. In a process of its own, since the setting is the whole process's.
SCRIPT = """
import resource, torch
from photovax.machine.allocator import kept_memory
from photovax.machine.memory import resident_bytes

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fill():
    before = faults()
    held = [torch.ones(2**24) for _ in range(4)]
    del held
    return faults() - before

with kept_memory():
    first, *_, later = [fill() for _ in range(8)]
    kept = resident_bytes()
after = resident_bytes()
with kept_memory():
    again = fill()
print(first, later, again, after, kept)
"""

RETURNED = """
import sys, torch
from contextlib import nullcontext
from photovax.machine.allocator import returned_memory
from photovax.machine.memory import resident_bytes

with {"nullcontext": nullcontext, "returned_memory": returned_memory}[sys.argv[1]]():
    torch.ones(6 * 2**20)
    # One that is held above the others keeps the heap from shrinking.
    held = [torch.ones(6 * 2**20) for _ in range(9)]
    del held[:-1]
    print(resident_bytes())
"""


def run(script: str, *arguments: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script, *arguments],
        env=clean | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def measured(**environment: str) -> list[int]:
    return [int(word) for word in run(SCRIPT, **environment).split()]


def test_memory_is_kept_inside_and_given_back_after():
    first, later, again, after, kept = measured()
    assert later < 0.1 * first
    assert again > 0.5 * first
    outside = measured(MALLOC_TRIM_THRESHOLD_="131072")[3]
    assert after < outside + 2**26
    assert kept > outside + 2**27


def test_memory_is_given_back_at_once_where_it_is_short():
    """Blocks of 24 MB, which glibc keeps in its heap once it has freed one of them."""
    plain, returned = (int(run(RETURNED, name)) for name in ("nullcontext", "returned_memory"))
    assert returned < plain - 2**26


def test_settings_of_the_environment_are_left_alone():
    first, later, *_ = measured(MALLOC_TRIM_THRESHOLD_="131072")
    assert later > 0.5 * first

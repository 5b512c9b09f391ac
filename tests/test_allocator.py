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
from photovax.allocator import kept_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fill():
    before = faults()
    held = [torch.ones(2**24) for _ in range(4)]
    del held
    return faults() - before

with kept_memory():
    first, *_, later = [fill() for _ in range(8)]
resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
with kept_memory():
    again = fill()
print(first, later, again, resident)
"""


def measured(**environment: str) -> list[int]:
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", SCRIPT],
        env=clean | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_memory_is_kept_inside_and_given_back_after():
    first, later, again, resident = measured()
    assert later < 0.1 * first
    assert again > 0.5 * first
    outside = measured(MALLOC_TRIM_THRESHOLD_="131072")[3]
    assert resident < outside + 2**26


def test_settings_of_the_environment_are_left_alone():
    first, later, *_ = measured(MALLOC_TRIM_THRESHOLD_="131072")
    assert later > 0.5 * first

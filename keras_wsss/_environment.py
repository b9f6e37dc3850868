"""What TensorFlow reads from the environment when it is imported.

It leaves oneDNN off where the processor has no AVX-512, and gives memory back page by page; both
cost time (docs/performance.md). A value that the user has set stays.
"""

import os
import platform
import re
import sys
from pathlib import Path

CPU_FACTS = Path("/proc/cpuinfo")
SETTINGS = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"}


def set_environment() -> None:
    """Sets what nobody has set; without effect once TensorFlow has been imported.

    Example:

    >>> set_environment()  # before TensorFlow is imported
    """
    if "tensorflow" not in sys.modules:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)


def described() -> str:
    """The processor, its widest vectors, and the settings that TensorFlow finds.

    Example:

    >>> described()  # doctest: +SKIP
    'Intel(R) Xeon(R) Processor, avx512f, 2 CPUs; TF_ENABLE_ONEDNN_OPTS=1, TF_CPU_ALLOCATOR...'
    """
    name, flags = platform.processor() or platform.machine(), ""
    if CPU_FACTS.exists():  # Linux
        facts = dict(re.findall(r"^(.*?)\s*: (.*)$", CPU_FACTS.read_text(), re.MULTILINE))
        name, flags = facts.get("model name", name), facts.get("flags", "")
    vectors = [each for each in ("avx512f", "avx2") if each in flags.split()][:1]
    settings = [f"{name}={os.environ.get(name, 'unset')}" for name in SETTINGS]
    return f"{', '.join([name, *vectors])}, {os.cpu_count()} CPUs; {', '.join(settings)}"

"""What a Lambda function runs on: its Python, its architecture, and the wheels that fit both."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

# The operating system by runtime, and the glibc that it has:
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
_FIRST_ON_AMAZON_LINUX_2023: Final = (3, 12)
_GLIBC_OF_AMAZON_LINUX_2023: Final = 34
_GLIBC_OF_AMAZON_LINUX_2: Final = 26
# The oldest for which a manylinux tag by version is defined: https://peps.python.org/pep-0600/
_OLDEST_GLIBC: Final = {"aarch64": 17, "x86_64": 5}
_LEGACY_TAGS: Final = {
    "aarch64": ["manylinux2014_aarch64"],
    "x86_64": ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"],
}
# The platforms of uv, by what a function's glibc is: the newest that has no newer one.
_UV_GLIBC: Final = {_GLIBC_OF_AMAZON_LINUX_2023: "2_34", _GLIBC_OF_AMAZON_LINUX_2: "2_17"}
ELF_MACHINES: Final = {"aarch64": 183, "x86_64": 62}
"""``e_machine`` of ELF files: EM_AARCH64 and EM_X86_64."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What packages are bundled for.

    Args:
        python: Version of Python.
        machine: ``aarch64`` or ``x86_64``.
    """

    python: tuple[int, int]
    machine: str

    def __str__(self) -> str:
        architecture = "arm64" if self.machine == "aarch64" else self.machine
        return f"Python {self.version} on {architecture} Linux with glibc 2.{self.glibc}"

    @property
    def version(self) -> str:
        """Version of Python, such as ``3.13``."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def glibc(self) -> int:
        """Minor version of the runtime's glibc."""
        new = self.python >= _FIRST_ON_AMAZON_LINUX_2023
        return _GLIBC_OF_AMAZON_LINUX_2023 if new else _GLIBC_OF_AMAZON_LINUX_2

    def platforms(self) -> list[str]:
        """Return the platform tags of wheels that fit, the best first."""
        numbers = range(self.glibc, _OLDEST_GLIBC[self.machine] - 1, -1)
        return [*(f"manylinux_2_{minor}_{self.machine}" for minor in numbers), *_LEGACY_TAGS[self.machine]]

    def uv_platform(self) -> str:
        """Return uv's name of the platform."""
        return f"{self.machine}-manylinux_{_UV_GLIBC[self.glibc]}"

    def markers(self) -> dict[str, str]:
        """Return what markers of requirements are about: https://peps.python.org/pep-0508/#environment-markers."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.version}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.version}.0",
            "python_version": self.version,
            "sys_platform": "linux",
        }


@dataclass(frozen=True, kw_only=True)
class ThisMachine:
    """A Python of this machine, for which packages are bundled once more to run a function here.

    Args:
        python: Version of Python.
        executable: Where it is.
    """

    python: tuple[int, int]
    executable: str

    def __str__(self) -> str:
        return f"Python {self.version} of this machine ({sys.platform})"

    @property
    def version(self) -> str:
        """Version of Python, such as ``3.13``."""
        return f"{self.python[0]}.{self.python[1]}"

    def markers(self) -> dict[str, str]:
        """Return what markers of requirements are about, as far as it differs between Pythons of one machine."""
        return {
            "implementation_version": f"{self.version}.0",
            "python_full_version": f"{self.version}.0",
            "python_version": self.version,
        }

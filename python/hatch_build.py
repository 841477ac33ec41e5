"""Puts the program that RETUNE_PROGRAM names into the wheel, as the command `retune`.

    RETUNE_PROGRAM=target/release/retune pip wheel --no-deps ./python        # make dist does it

Without the variable the wheel is Python alone.
"""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What every Linux with glibc has: the libraries that the manylinux policy allows and the program may need.
ALLOWED_LIBRARIES = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux-[\w-]+)\.so\.\d+")


class CarriedProgram(BuildHookInterface):
    def initialize(self, version, build_data):
        program = os.environ.get("RETUNE_PROGRAM")
        if not program:
            return
        program = Path(program).resolve(strict=True)
        build_data["shared_scripts"] = {str(program): "retune"}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag(program)}"


def platform_tag(program):
    """On Linux, manylinux by the newest glibc that the program asks for."""
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    if not platform.startswith("linux_"):
        return platform

    foreign = [name for name in needed_libraries(program) if not ALLOWED_LIBRARIES.fullmatch(name)]
    if foreign:
        raise RuntimeError(f"{program} needs {', '.join(foreign)}, which not every Linux has")
    major, minor = newest_glibc(program)
    return platform.replace("linux", f"manylinux_{major}_{minor}", 1)


def needed_libraries(program):
    return re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("--dynamic", program))


def newest_glibc(program):
    versions = re.findall(r"\bGLIBC_(\d+)\.(\d+)", readelf("--version-info", program))
    return max((int(major), int(minor)) for major, minor in versions)


def readelf(option, program):
    return subprocess.run(["readelf", "--wide", option, program], check=True, capture_output=True, text=True).stdout

from __future__ import annotations

import pytest

from provision.apply.build_output import (
    SHOWN_LINES,
    error_lines,
    parse_step,
    tells_of_full_disk,
    tells_of_killed_compiler,
)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("[1/206] Building CXX object ggml/src/CMakeFiles/ggml-base.dir/ggml.cpp.o", (1, 206)),
        ("[206/206] Linking CXX executable bin/llama-server", (206, 206)),
        ("[  0%] Building C object ggml/src/CMakeFiles/ggml-base.dir/ggml.c.o", (0, 100)),
        ("[ 12%] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o", (12, 100)),
        ("[100%] Built target llama-server", (100, 100)),
        ("-- Configuring done", None),
        ("    3 | [3/4] is no step", None),
        ("[x/4] neither", None),
        ("", None),
    ],
)
def test_steps_of_ninja_and_of_make(line: str, step: tuple[int, int] | None) -> None:
    assert parse_step(line) == step


NINJA = """\
[7/206] Building CXX object common/CMakeFiles/error.dir/error.cpp.o
[8/206] Building CXX object common/CMakeFiles/llama-common.dir/arg.cpp.o
FAILED: common/CMakeFiles/llama-common.dir/arg.cpp.o
/usr/bin/c++ -O3 -o common/CMakeFiles/llama-common.dir/arg.cpp.o -c arg.cpp
arg.cpp: In function 'int main()':
arg.cpp:3:2: error: #error too old
    3 | #error too old
      |  ^~~~~
ninja: build stopped: subcommand failed.
"""
LINKER = """\
/usr/bin/ld: arg.cpp:(.text+0x5): undefined reference to `llama_decode'
collect2: error: ld returned 1 exit status
gmake[3]: *** [CMakeFiles/llama-server.dir/build.make:97: bin/llama-server] Error 1
gmake: *** [Makefile:140: llama-server] Error 2
"""
CMAKE = """\
-- The CXX compiler identification is GNU 7.5.0
CMake Error at CMakeLists.txt:1 (cmake_minimum_required):
  CMake 3.14 or higher is required.  You are running version 3.10.2


-- Configuring incomplete, errors occurred!
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (NINJA, ["arg.cpp:3:2: error: #error too old", "3 | #error too old"]),
        (LINKER, ["/usr/bin/ld: arg.cpp:(.text+0x5): undefined reference to `llama_decode'"]),
        (
            CMAKE,
            [
                "CMake Error at CMakeLists.txt:1 (cmake_minimum_required):",
                "CMake 3.14 or higher is required.  You are running version 3.10.2",
                "-- Configuring incomplete, errors occurred!",
            ],
        ),
        ("ninja: build stopped: interrupted by user. error\n", ["ninja: build stopped: interrupted by user. error"]),
        ("one\n\ntwo\n", ["one", "two"]),
        ("", []),
    ],
    ids=["compiler", "linker", "CMake", "nothing better", "no error", "nothing"],
)
def test_the_lines_that_say_why(text: str, shown: list[str]) -> None:
    assert error_lines(text.splitlines()) == shown


def test_only_a_few_lines_are_shown() -> None:
    assert len(error_lines(f"a.cpp:{number}: error: x" for number in range(50))) == SHOWN_LINES


def test_a_full_disk_and_a_killed_compiler_are_recognised() -> None:
    full = "/tmp/x.s: fatal error: error writing to /tmp/x.s: No space left on device"  # noqa: S108 - only a text
    killed = "c++: fatal error: Killed signal terminated program cc1plus"
    assert (tells_of_full_disk([full]), tells_of_full_disk([killed])) == (True, False)
    assert (tells_of_killed_compiler([killed]), tells_of_killed_compiler([full])) == (True, False)

"""Every sample of operating systems, kernels, C libraries and containers, against its verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.domain.facts import Libc
from provision.facts.environment import read_container, read_environment, read_init, read_libc
from provision.facts.services import Services, read_services
from provision.host.machine import Machine, Platform

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[2] / "samples" / "os"
WSL = {"wsl1": 1, "wsl2": 2}


def lines(name: str) -> list[str]:
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_every_sample_is_read_by_a_test() -> None:
    others = {path.name for path in SAMPLES.iterdir() if not path.name.startswith("os-release.")}
    assert others == {"container_markers.txt", "init_probe.txt", "kernel_strings.tsv", "libc_strings.txt"}


@pytest.mark.parametrize("line", lines("kernel_strings.tsv"))
def test_kernel(line: str, imagine: Imagine) -> None:
    release, verdict = line.split("\t")
    found = read_environment(imagine(platform=Platform("Linux", "x86_64", release)))
    assert found.kernel == release
    assert found.wsl == WSL.get(verdict.split()[0])
    assert found.container is None


def markers() -> dict[str, str]:
    """Return what each line of the sample says a container engine leaves, by the engines' names."""
    pairs = (line.partition(": ")[::2] for line in lines("container_markers.txt"))
    return {names: marks for names, marks in pairs if names != "note"}


@pytest.mark.parametrize(
    ("names", "engine"),
    [
        ("docker", "docker"),
        ("podman", "podman"),
        ("kubernetes", "kubernetes"),
        ("systemd-nspawn/lxc", "lxc"),
        ("systemd-nspawn/lxc", "systemd-nspawn"),
        ("toolbox/distrobox", "toolbox"),
        ("flatpak", "flatpak"),
    ],
)
def test_each_file_that_a_container_engine_leaves(names: str, engine: str, imagine: Imagine) -> None:
    paths = re.findall(r"(?:file|dir) (/[\w/.-]+)", markers()[names])
    assert paths
    for path in paths:
        assert read_container(imagine({path: engine})) == engine


def test_the_environment_tells_of_kubernetes_and_not_of_toolbox(imagine: Imagine) -> None:
    told = {names: re.findall(r"env (\w+)", marks) for names, marks in markers().items()}
    assert told["kubernetes"] == ["KUBERNETES_SERVICE_HOST"]
    assert read_container(imagine(env={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})) == "kubernetes"
    assert told["toolbox/distrobox"] == ["CONTAINER_ID"]  # YARN sets it as well
    assert read_container(imagine(env={"CONTAINER_ID": "box"})) is None


def test_no_engine_is_left_out() -> None:
    tested = {"docker", "podman", "kubernetes", "systemd-nspawn/lxc", "toolbox/distrobox", "flatpak"}
    assert markers().keys() == tested


def test_container_and_machine_are_two_facts(imagine: Imagine) -> None:
    assert "two facts, not one" in lines("container_markers.txt")[-1]
    found = read_environment(imagine({"/.dockerenv": ""}), ("hypervisor",))
    assert (found.container, found.vm) == ("docker", "vm")


def test_init(imagine: Imagine) -> None:
    text = "\n".join(lines("init_probe.txt"))
    pairs = re.findall(r"(/(?:run|etc)/[\w/]+)(?: exists| or (/run/s6))? => (systemd|OpenRC|runit|s6)", text)
    assert [name for _, _, name in pairs] == ["systemd", "OpenRC", "runit", "s6"]
    for first, second, name in pairs:
        for path in filter(None, (first, second)):
            assert read_init(imagine({path: ""})) == name.lower()
    assert "else none" in text
    assert read_init(imagine({"/usr/bin/systemctl": ""})) is None


def test_a_user_without_a_session_has_no_manager_and_may_linger(imagine: Imagine) -> None:
    text = "\n".join(lines("init_probe.txt"))
    assert "XDG_RUNTIME_DIR unset" in text
    place = re.search(r"(/\S+)/<user> exists", text)
    assert place is not None
    machine = imagine({f"{place[1]}/me": ""}, env={"USER": "me"}, platform=Platform("Linux", "x86_64", uid=1000))
    assert read_services(machine, "systemd") == Services(user_services=False, linger=True)


def libc_sample(source: str) -> str:
    """Return what the sample says that a source answers."""
    (line,) = (line for line in lines("libc_strings.txt") if line.startswith(source))
    return line.removeprefix(source).lstrip("=").rpartition(" => ")[0]


def test_glibc_says_what_it_is(imagine: Imagine) -> None:
    answer = libc_sample('os.confstr("CS_GNU_LIBC_VERSION")=glibc')
    ldd = libc_sample("ldd --version on Debian 12")
    assert ldd.endswith(answer.strip())
    machine = imagine(platform=Platform("Linux", "x86_64", None, f"glibc {answer.strip()}"))
    assert read_libc(machine) == Libc("glibc", "2.36")


def test_musl_is_known_by_its_loader_which_is_not_run(imagine: Imagine) -> None:
    (line,) = (line for line in lines("libc_strings.txt") if line.startswith("/lib/ld-musl"))
    loader, verdict = line.split()[0], line.rpartition(" => ")[2]
    assert verdict == "musl 1.2"
    silent = Platform("Linux", "x86_64", None, None)
    assert read_libc(imagine({loader: ""}, platform=silent)) == Libc("musl", None)


@pytest.mark.parametrize("answer", [None, ""])
def test_no_answer_is_unknown_and_never_glibc_0(answer: str | None, imagine: Imagine) -> None:
    assert any('("", "") => unknown, never "glibc 0"' in line for line in lines("libc_strings.txt"))
    assert any("ValueError or None => not glibc, look for musl" in line for line in lines("libc_strings.txt"))
    assert read_libc(imagine(platform=Platform("Linux", "x86_64", None, answer))) is None

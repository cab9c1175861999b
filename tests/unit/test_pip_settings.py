"""What pip is configured with, read from replayed files and environments."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.artifacts import pip_settings
from provision.artifacts.pip_settings import PackageSettings, read, read_local, uv_environment, uv_flags

ETC = "[global]\nindex-url = https://mirror.example/simple\ntrusted-host = mirror.example\n"
USER = "[global]\nextra-index-url =\n    https://one.example/simple\n    file:///two\ncert = /certs/company.pem\n"
INSTALL = "[install]\nfind-links = /wheels /more\nno-index = yes\n[global]\nfind-links = /shadowed\n"


@pytest.mark.parametrize(
    ("files", "env", "expected"),
    [
        pytest.param({}, {}, PackageSettings(), id="nothing is configured"),
        pytest.param(
            {"/etc/pip.conf": ETC, "/h/.config/pip/pip.conf": USER},
            {},
            PackageSettings(
                index_url="https://mirror.example/simple",
                extra_index_urls=("https://one.example/simple", "file:///two"),
                certificate="/certs/company.pem",
                trusted_hosts=("mirror.example",),
            ),
            id="system and user files add up",
        ),
        pytest.param(
            {"/etc/pip.conf": ETC},
            {"PIP_INDEX_URL": "https://other.example/simple", "PIP_PROXY": "http://proxy.example:3128"},
            PackageSettings(
                index_url="https://other.example/simple",
                proxy="http://proxy.example:3128",
                trusted_hosts=("mirror.example",),
            ),
            id="the environment wins",
        ),
        pytest.param(
            {"/h/.pip/pip.conf": INSTALL},
            {},
            PackageSettings(find_links=("/wheels", "/more"), no_index=True),
            id="the section of install wins over global",
        ),
        pytest.param(
            {"/x/pip/pip.conf": ETC, "/c/pip/pip.conf": "[global]\nindex-url = https://user.example/simple\n"},
            {"XDG_CONFIG_DIRS": "/x", "XDG_CONFIG_HOME": "/c"},
            PackageSettings(index_url="https://user.example/simple", trusted_hosts=("mirror.example",)),
            id="XDG directories, the user's after the system's",
        ),
        pytest.param(
            {"/etc/pip.conf": ETC, "/special": "[global]\nindex-url = https://special.example/simple\n"},
            {"PIP_CONFIG_FILE": "/special"},
            PackageSettings(index_url="https://special.example/simple", trusted_hosts=("mirror.example",)),
            id="PIP_CONFIG_FILE comes last",
        ),
        pytest.param(
            {"/h/.config/pip/pip.conf": USER, "/special": "[global]\nproxy = http://proxy.example:1\n"},
            {"PIP_CONFIG_FILE": "/special"},
            PackageSettings(proxy="http://proxy.example:1"),
            id="PIP_CONFIG_FILE stands in for the user's own files",
        ),
        pytest.param(
            {"/h/.config/pip/pip.conf": USER},
            {"PIP_CONFIG_FILE": "/no such file"},
            PackageSettings(
                extra_index_urls=("https://one.example/simple", "file:///two"), certificate="/certs/company.pem"
            ),
            id="a PIP_CONFIG_FILE that is not there does not",
        ),
        pytest.param(
            {"/etc/pip.conf": "[install]\nindex-url = https://system.example/\n", "/h/.pip/pip.conf": ETC},
            {},
            PackageSettings(index_url="https://system.example/", trusted_hosts=("mirror.example",)),
            id="the section of install wins even from a more general file",
        ),
        pytest.param(
            {"/etc/pip.conf": ETC, "/h/.pip/pip.conf": "[global]\nindex-url =\n"},
            {"PIP_TRUSTED_HOST": ""},
            PackageSettings(trusted_hosts=("mirror.example",)),
            id="an empty value in a file takes back, in the environment it says nothing",
        ),
        pytest.param(
            {"/etc/pip.conf": "[global]\nindex_url = https://under.example/\n--cert = /dashed.pem\n"},
            {},
            PackageSettings(index_url="https://under.example/", certificate="/dashed.pem"),
            id="underscores and dashes are one",
        ),
        pytest.param(
            {},
            {"REQUESTS_CA_BUNDLE": "/requests.pem", "CURL_CA_BUNDLE": "/curl.pem"},
            PackageSettings(certificate="/requests.pem"),
            id="the certificate of pip's HTTP library",
        ),
        pytest.param(
            {},
            {"REQUESTS_CA_BUNDLE": "/requests.pem", "SSL_CERT_FILE": "/named-in-our-hints.pem"},
            PackageSettings(),
            id="the variable that everything reads wins over it",
        ),
        pytest.param(
            {"/etc/pip.conf": "[global]\ncert = /pips.pem\n"},
            {"SSL_CERT_FILE": "/of-the-machine.pem"},
            PackageSettings(certificate="/pips.pem"),
            id="pip's own setting wins over both",
        ),
        pytest.param({"/etc/pip.conf": ETC}, {"PIP_CONFIG_FILE": os.devnull}, PackageSettings(), id="no files at all"),
        pytest.param({"/etc/pip.conf": "not [an ini\n"}, {}, PackageSettings(), id="a broken file says nothing"),
        pytest.param(
            {"/etc/pip.conf": "[global]\nindex-url = https://m.example/%s/simple\n"},
            {},
            PackageSettings(index_url="https://m.example/%s/simple"),
            id="a percent sign is no interpolation",
        ),
    ],
)
def test_settings_are_those_of_pip(files: Mapping[str, str], env: Mapping[str, str], expected: PackageSettings) -> None:
    assert read(env, files.get, "linux", "/h", "/prefix") == expected


def test_without_a_home_only_the_system_counts() -> None:
    files = {"/etc/pip.conf": ETC, "None/.pip/pip.conf": USER}
    assert read({}, files.get, "linux", None, None).extra_index_urls == ()


def test_macos_keeps_its_files_elsewhere() -> None:
    files = {"/h/Library/Application Support/pip/pip.conf": ETC}
    assert read({}, files.get, "darwin", "/h", None).index_url == "https://mirror.example/simple"
    assert read({}, files.get, "linux", "/h", None).index_url is None


FULL = PackageSettings(
    index_url="https://mirror.example/simple",
    extra_index_urls=("https://one.example/simple", "file:///two"),
    find_links=("/wheels", "https://links.example/"),
    certificate="/certs/company.pem",
    proxy="http://proxy.example:3128",
    trusted_hosts=("mirror.example", "one.example"),
    system_certificates=True,
)


def test_uv_is_told_the_same() -> None:
    assert uv_environment(FULL, {}) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://one.example/simple file:///two",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,https://links.example/",
        "UV_INSECURE_HOST": "mirror.example one.example",
        "SSL_CERT_FILE": "/certs/company.pem",
        "UV_SYSTEM_CERTS": "1",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "https_proxy": "http://proxy.example:3128",
        "http_proxy": "http://proxy.example:3128",
    }
    assert uv_flags(FULL) == []
    assert uv_flags(PackageSettings(no_index=True)) == ["--no-index"]


@pytest.mark.parametrize(
    ("name", "silenced"),
    [
        ("UV_DEFAULT_INDEX", "UV_DEFAULT_INDEX"),
        ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
        ("UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY"),
        ("UV_INDEX", "UV_INDEX_STRATEGY"),
        ("UV_INDEX_STRATEGY", "UV_INDEX_STRATEGY"),
        ("UV_FIND_LINKS", "UV_FIND_LINKS"),
        ("UV_INSECURE_HOST", "UV_INSECURE_HOST"),
        ("UV_SYSTEM_CERTS", "UV_SYSTEM_CERTS"),
    ],
)
def test_what_the_user_told_uv_stays(name: str, silenced: str) -> None:
    assert silenced not in uv_environment(FULL, {name: "the user's"})


def test_what_pip_is_told_wins_over_what_the_machine_is_told() -> None:
    machine = {
        "SSL_CERT_FILE": "/etc/all.pem",
        "https_proxy": "http://other.example:1",
        "HTTP_PROXY": "http://o.example",
    }
    told = uv_environment(FULL, machine)
    assert told["SSL_CERT_FILE"] == "/certs/company.pem"
    assert {told[name] for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")} == {FULL.proxy}
    assert not {"SSL_CERT_FILE", "HTTPS_PROXY"} & uv_environment(PackageSettings(), machine).keys()


def test_commas_in_links_do_not_part_them() -> None:
    settings = PackageSettings(find_links=("/a,b/ß", "/c", "https://d.example/e,f"))
    assert uv_environment(settings, {})["UV_FIND_LINKS"] == "file:///a%2Cb/%C3%9F,/c,https://d.example/e%2Cf"


def test_paths_are_made_absolute_and_missing_folders_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wheels").mkdir()
    missing = (tmp_path / "missing").as_uri()
    env = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CERT": "company.pem",
        "PIP_FIND_LINKS": f"wheels gone {missing} {tmp_path.as_uri()} https://links.example/",
    }
    settings = read_local(env)
    assert settings.certificate == str(tmp_path / "company.pem")
    assert settings.find_links == (str(tmp_path / "wheels"), tmp_path.as_uri(), "https://links.example/")


ASK_PIP = """
import json, os, sys
from pip._internal.commands import create_command
from pip._internal.models.index import PyPI
answers = []
for env in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(env)
    o, _ = create_command("install").parser.parse_args(["x"])
    index = None if o.index_url == PyPI.simple_url else o.index_url
    lists = o.extra_index_urls, o.find_links, o.trusted_hosts
    answers.append([index, *lists, o.cert, o.proxy or None, bool(o.no_index)])
print(json.dumps(answers))
"""
LINES = (
    "index-url = https://{0}/a",
    "index_url = https://{0}/b",
    "index-url =",
    "extra-index-url = https://{0}/1 https://{0}/2",
    "find-links =\n  /{0}/1\n  /{0}/2",
    "cert = /{0}.pem",
    "proxy = http://{0}",
    "no-index = yes",
    "no-index = 0",
    "trusted-host = {0}",
)
VARIABLES = {
    "PIP_INDEX_URL": "https://env/",
    "PIP_FIND_LINKS": "/e1 /e2",
    "PIP_NO_INDEX": "1",
    "PIP_CERT": "",
    "PIP_PROXY": "p",
}
PLACES = ("x1/pip", "x2/pip", "home/.pip", "home/.config/pip", "config/pip", "special")


def configuration(chance: random.Random, place: Path) -> dict[str, str]:
    """Write some of pip's files below ``place`` and return an environment, both by chance."""
    for name in chance.sample(PLACES, chance.randint(0, 4)):
        file = place / name / "pip.conf"
        file.parent.mkdir(parents=True)
        text = ""
        for section in chance.sample(("global", "install"), chance.randint(1, 2)):
            lines = {line.split()[0].replace("_", "-"): line for line in chance.sample(LINES, 4)}
            text += f"[{section}]\n" + "\n".join(lines.values()).format(section + name.replace("/", ".")) + "\n"
        file.write_text(text, encoding="utf-8")
    env = {"HOME": f"{place}/home", "XDG_CONFIG_DIRS": f"{place}/x1:{place}/x2"}
    env.update({name: value for name, value in VARIABLES.items() if chance.random() < 0.2})
    if chance.random() < 0.3:
        env["XDG_CONFIG_HOME"] = f"{place}/config"
    if chance.random() < 0.4:
        env["PIP_CONFIG_FILE"] = chance.choice([f"{place}/special/pip.conf", os.devnull])
    return env


@pytest.mark.skipif(sys.platform != "linux", reason="the files lie where pip looks for them on Linux")
def test_pip_itself_reads_the_same(tmp_path: Path) -> None:
    python = str(Path(sys.base_prefix, "bin", "python3"))
    if subprocess.run([python, "-c", "import pip"], check=False, capture_output=True).returncode:
        pytest.skip(f"{python} has no pip to compare with")
    chance = random.Random(20261121)  # noqa: S311 - repeatable
    envs = [configuration(chance, tmp_path / str(number)) for number in range(60)]
    argv = [python, "-W", "ignore", "-c", ASK_PIP]
    done = subprocess.run(argv, input=json.dumps(envs), capture_output=True, text=True, check=True)
    for env, (index, extra, links, trusted, cert, proxy, none) in zip(envs, json.loads(done.stdout), strict=True):
        expected = PackageSettings(index, tuple(extra), tuple(links), cert, proxy, none, tuple(trusted))
        assert read(env, pip_settings._read_text, "linux", env["HOME"], sys.base_prefix) == expected, env


def test_as_a_script_it_prints_assignments_that_a_shell_understands(tmp_path: Path) -> None:
    awkward = "https://mirror.example/it's a/simple"
    env = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": awkward, "PIP_NO_INDEX": "1", "PATH": os.environ["PATH"]}
    command = shlex.join([sys.executable, "-I", pip_settings.__file__])
    script = f'eval "$({command})"; printf "%s|" "$UV_DEFAULT_INDEX" $uv_flags'
    done = subprocess.run(["/bin/sh", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{awkward}|--no-index|"

"""What pip is configured with, read from replayed files and environments."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.artifacts import pip_settings
from provision.artifacts.pip_settings import PackageSettings, read, uv_environment, uv_flags

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
    }
    assert uv_flags(FULL) == []
    assert uv_flags(PackageSettings(no_index=True)) == ["--no-index"]


@pytest.mark.parametrize(
    ("name", "silenced"),
    [
        ("UV_DEFAULT_INDEX", "UV_DEFAULT_INDEX"),
        ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
        ("UV_FIND_LINKS", "UV_FIND_LINKS"),
        ("SSL_CERT_FILE", "SSL_CERT_FILE"),
        ("https_proxy", "HTTPS_PROXY"),
    ],
)
def test_what_the_user_told_uv_stays(name: str, silenced: str) -> None:
    assert silenced not in uv_environment(FULL, {name: "the user's"})


def test_as_a_script_it_prints_assignments_that_a_shell_understands(tmp_path: Path) -> None:
    awkward = "https://mirror.example/it's a/simple"
    env = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": awkward, "PIP_NO_INDEX": "1", "PATH": os.environ["PATH"]}
    command = shlex.join([sys.executable, "-I", pip_settings.__file__])
    script = f'eval "$({command})"; printf "%s|" "$UV_DEFAULT_INDEX" $uv_flags'
    done = subprocess.run(["/bin/sh", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{awkward}|--no-index|"

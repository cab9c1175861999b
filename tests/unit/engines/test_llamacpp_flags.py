"""The command line that is written for what a program's own help lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.selection import Selection
from provision.engines.engine import Placement
from provision.engines.llamacpp_flags import OptionsMissingError, Setting, arguments, parse_options, server_settings

SAMPLE = Path(__file__).parents[2] / "samples" / "llama-server" / "help_0.5.0-dev.txt"
NEW = SAMPLE.read_text(encoding="utf-8")
# The layout and the spellings of builds of 2025.
OLDER = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
-t,    --threads N                      number of threads to use during generation (default: -1)
                                        (env: LLAMA_ARG_THREADS)
-tb,   --threads-batch N                number of threads to use during batch and prompt processing
-c,    --ctx-size N                     size of the prompt context (default: 4096, 0 = loaded from model)
-fa,   --flash-attn                     enable Flash Attention (default: disabled)
--mlock                                 force system to keep model in RAM
--no-mmap                               do not memory-map model
-ngl,  --gpu-layers, --n-gpu-layers N   number of layers to store in VRAM
-m,    --model FNAME                    model path
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
-a,    --alias STRING                   set alias for model name
--host HOST                             ip address to listen, or bind to an UNIX socket
                                        - one of:
    --- or a name of this machine
--port PORT                             port to listen (default: 8080)
--no-webui                              Disable the Web UI (default: enabled)
--api-key-file FNAME                    path to file containing API keys (default: none)
--metrics                               enable prometheus compatible metrics endpoint
--slots                                 enable slots monitoring endpoint (default: disabled)
--props                                 enable changing global properties
--no-slots                              disables slots monitoring endpoint
"""
# Those of 2024: indented, and with a placeholder behind every spelling.
OLDEST = """\
usage: ./server [options]

options:
  -h, --help                show this help message and exit
  -v, --verbose             verbose output (default: disabled)
  -t N, --threads N         number of threads to use during computation (default: 4)
  -tb N, --threads-batch N  number of threads to use during batch and prompt processing
  --threads-http N          number of threads in the http server pool
  -c N, --ctx-size N        size of the prompt context (default: 512)
  --numa TYPE               attempt optimizations that help on some NUMA systems
                              - distribute: spread execution evenly over all nodes
  -ngl N, --n-gpu-layers N
                            number of layers to store in VRAM
  -m FNAME, --model FNAME
                            model path (default: models/7B/ggml-model-f16.gguf)
  -a ALIAS, --alias ALIAS
                            set an alias for the model
  --host                    ip address to listen (default  (default: 127.0.0.1)
  --port PORT               port to listen (default  (default: 8080)
  --api-key-file FNAME      path to file containing api keys delimited by new lines.
  -np N, --parallel N       number of slots for process requests (default: 1)
  --metrics                 enable prometheus compatible metrics endpoint (default: disabled).
"""


@pytest.fixture
def place(tmp_path: Path) -> Placement:
    return Placement(
        tmp_path / "engine", tmp_path / "model.gguf", tmp_path / "generation", tmp_path / "state", tmp_path / "key"
    )


def pairs(words: tuple[str, ...]) -> dict[str, str | None]:
    """Return options with their values."""
    found: dict[str, str | None] = {}
    name = ""
    for word in words:
        if word.startswith("-"):
            name = word
            found[name] = None
        else:
            assert found[name] is None, f"two values behind {name}"
            found[name] = word
    return found


@pytest.mark.parametrize(
    ("text", "known", "unknown"),
    [
        (NEW, "-m --load-mode --cors-origins --cache-ram -cram --api-key-file --device -fa", "--mlock --no-mmap"),
        (OLDER, "-m --model -np --gpu-layers -ngl --api-key-file --host", "--cors-origins --cache-ram --load-mode"),
        (OLDEST, "-m --model -t -tb -ngl --n-gpu-layers -np -a --numa", "--slots --no-webui --no-ui --device"),
    ],
    ids=["new", "older", "oldest"],
)
def test_options_that_take_a_value(text: str, known: str, unknown: str) -> None:
    options = parse_options(text)
    assert {name: options.get(name) for name in known.split()} == dict.fromkeys(known.split(), True)
    assert not options.keys() & set(unknown.split())


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (
            NEW,
            "-h --help --version --no-ui --ui --webui --no-webui --metrics --slots --no-slots --offline --kv-unified",
        ),
        (NEW, "--no-cors-credentials --fim-qwen-1.5b-default"),
        (OLDER, "-fa --flash-attn --mlock --no-mmap --no-webui --slots --no-slots --metrics --props"),
        (OLDEST, "-h --help -v --verbose --metrics"),
    ],
    ids=["new", "names of the new", "older", "oldest"],
)
def test_options_that_are_switches(text: str, known: str) -> None:
    options = parse_options(text)
    assert {name: options.get(name) for name in known.split()} == dict.fromkeys(known.split(), False)


def test_what_is_listed_as_removed_is_not_known() -> None:
    assert "--draft-max N       the argument has been removed" in NEW
    assert not parse_options(NEW).keys() & {"--draft", "--draft-n", "--draft-max", "--draft-min", "--spec-ngram-size-n"}


def test_every_option_of_the_real_help_is_found() -> None:
    at_the_edge = {line.split(",")[0].split()[0] for line in NEW.splitlines() if line.startswith("-")}
    removed = {"--draft", "--draft-min", "--spec-ngram-size-n", "--spec-ngram-size-m", "--spec-ngram-min-hits"}
    assert at_the_edge - parse_options(NEW).keys() == removed | {"-----"}


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    assert all(name.startswith("-") for name in parse_options(text))


def test_a_new_server_is_started_with_all_that_is_wanted(selection: Selection, place: Placement) -> None:
    words = arguments(parse_options(NEW), server_settings(selection, place))
    assert pairs(words) == {
        "--model": str(place.model),
        "--alias": selection.model.name,
        "--host": selection.host,
        "--port": str(selection.port),
        "--api-key-file": str(place.api_key),
        "--ctx-size": str(selection.context * selection.parallel),
        "--parallel": str(selection.parallel),
        "--threads": str(selection.threads),
        "--threads-batch": str(selection.threads),
        "--device": "none",
        "--cors-origins": "localhost",
        "--no-cors-credentials": None,
        "--cache-ram": "0",
        "--no-ui": None,
        "--no-slots": None,
        "--metrics": None,
        "--offline": None,
    }


def test_an_older_server_gets_its_own_spellings(selection: Selection, place: Placement) -> None:
    words = pairs(arguments(parse_options(OLDER), server_settings(selection, place)))
    assert words["--n-gpu-layers"] == "0"
    assert words.keys() >= {"--no-webui", "--no-slots", "--metrics"}
    assert not words.keys() & {"--no-ui", "--device", "--cors-origins", "--offline", "--cache-ram"}


@pytest.mark.parametrize(("text", "expected"), [(NEW, ("--fit", "on")), (OLDER, ("--n-gpu-layers", "999"))])
def test_a_gpu_takes_what_fits_where_the_build_can_tell(
    selection: Selection, place: Placement, text: str, expected: tuple[str, str]
) -> None:
    words = arguments(parse_options(text), server_settings(replace(selection, acceleration="cuda"), place))
    assert pairs(words).items() >= dict([expected]).items()
    assert "--device" not in words


def test_without_a_key_there_is_no_file_of_keys(selection: Selection, place: Placement) -> None:
    words = arguments(parse_options(NEW), server_settings(selection, replace(place, api_key=None)))
    assert "--api-key-file" not in words


@pytest.mark.parametrize("missing", ["--host", "--api-key-file"])
def test_a_server_that_lacks_what_it_cannot_be_used_without_is_refused(
    selection: Selection, place: Placement, missing: str
) -> None:
    options = parse_options(NEW)
    del options[missing]
    with pytest.raises(OptionsMissingError, match=f"does not know {missing}\\."):
        arguments(options, server_settings(selection, place))


def test_an_option_that_takes_a_value_is_not_used_as_a_switch() -> None:
    attention = Setting((("--flash-attn", "on"), ("--flash-attn",)))
    assert arguments(parse_options(NEW), [attention]) == ("--flash-attn", "on")
    assert arguments(parse_options(OLDER), [attention]) == ("--flash-attn",)


def test_the_oldest_server_does_not_say_that_host_takes_a_value(selection: Selection, place: Placement) -> None:
    with pytest.raises(OptionsMissingError, match="--host"):
        arguments(parse_options(OLDEST), server_settings(selection, place))

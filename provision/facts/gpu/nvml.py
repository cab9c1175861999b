"""What NVIDIA's management library (NVML) answers, through our own program that loads it."""

from __future__ import annotations

from typing import Any, NamedTuple

from provision.facts.gpu.pci import normalise_address
from provision.facts.json_text import parse_object
from provision.host.machine import PROBE, Command, Machine

ARGV = (PROBE, "nvml")
TIMEOUT_S = 15.0
WSL_LIBRARIES = "/usr/lib/wsl/lib"

# Return codes of NVML, which nvidia-smi uses as its exit status.
NO_PERMISSION = 4
NO_DEVICES = 6
NOT_LOADED = 9
NO_LIBRARY = 12
GPU_LOST = 15
MISMATCH = 18
UNKNOWN_ERROR = 999
# Ours, for what never got as far as a return code.
TIMED_OUT = -1
CRASHED = -2
NONSENSE = -3
NOT_ASKED = -4

MAX_DEVICES = 64
MAX_INSTANCES = 16
MAX_BYTES = 1 << 60
_MAX_CHARACTERS = 1 << 20
_MAX_TEXT = 200
_MAX_DIGITS = 20


class Memory(NamedTuple):
    """Memory of a GPU or of a part of it."""

    total_bytes: int
    free_bytes: int


class Instance(NamedTuple):
    """A MIG instance."""

    uuid: str | None = None
    name: str | None = None
    memory: Memory | None = None


class Device(NamedTuple):
    """One GPU. ``pci`` is ``dddd:bb:dd.f``, ``compute_capability`` like ``8.9``, ``mig`` whether it is partitioned.

    ``unified`` says that it works in main memory; where it has a ``memory`` of its own as well, that is told.
    """

    name: str | None = None
    uuid: str | None = None
    pci: str | None = None
    compute_capability: str | None = None
    memory: Memory | None = None
    mig: bool | None = None
    instances: tuple[Instance, ...] = ()
    unified: bool | None = None


class Answer(NamedTuple):
    """``driver`` is its version, ``cuda`` the newest CUDA that it runs, like ``12.8``.

    ``refused`` holds NVML's return code of each GPU that it counts and does not open.
    """

    driver: str | None = None
    cuda: str | None = None
    devices: tuple[Device, ...] = ()
    refused: tuple[int, ...] = ()


class Refusal(NamedTuple):
    """Why there is no answer: NVML's return code, or one of ours below zero."""

    code: int
    message: str = ""


def ask(machine: Machine, in_wsl: bool) -> Answer | Refusal:
    """Run the program that loads NVML.

    Under WSL the copy that belongs to Windows' driver comes first, as any other talks to a kernel module that is
    not there. Raises ``TimeoutError`` where it hangs, ``ValueError`` where what it prints makes no sense.
    """
    path = ":".join(part for part in (WSL_LIBRARIES, machine.env.get("LD_LIBRARY_PATH")) if part)
    result = machine.run(Command(ARGV, TIMEOUT_S, {"LD_LIBRARY_PATH": path} if in_wsl else {}))
    if result.timed_out:
        raise TimeoutError(f"NVML: {clean(result.stderr)}")
    if result.missing:
        return Refusal(NOT_ASKED, "NVIDIA's library could not be asked")
    if result.returncode < 0:
        return Refusal(CRASHED, f"NVML was ended by signal {-result.returncode}")
    if result.returncode:
        raise ValueError(f"the program that loads NVML ended with {result.returncode}: {clean(result.stderr[-300:])}")
    return parse_document(result.stdout)


def parse_document(text: str) -> Answer | Refusal:
    """Parse what ``probes/nvml.py`` prints. Raises ``ValueError`` for anything else."""
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"a document of {len(text)} characters")
    document = parse_object(text, parse_int=_integer, parse_constant=_integer)
    if "error" in document:
        return Refusal(_number(document["error"], 10_000), clean(str(document.get("message") or "")))
    cuda = document.get("cuda")
    return Answer(
        driver=text_of(document.get("driver")),
        cuda=None if not cuda else _cuda_version(_number(cuda, 1_000_000)),
        devices=tuple(_device(each) for each in _items(document.get("devices"), MAX_DEVICES)),
        refused=tuple(_number(each, 10_000) for each in _items(document.get("refused", []), MAX_DEVICES)),
    )


def _device(content: Any) -> Device:
    value = _object(content)
    address = text_of(value.get("pci"))
    return Device(
        name=text_of(value.get("name")),
        uuid=uuid_of(text_of(value.get("uuid"))),
        pci=None if address is None else normalise_address(address),
        compute_capability=_compute_capability(value.get("compute_capability")),
        memory=_memory(value.get("memory")),
        mig=_flag(value.get("mig")),
        instances=tuple(_instance(each) for each in _items(value.get("instances"), MAX_INSTANCES)),
        unified=_flag(value.get("unified")),
    )


def _instance(content: Any) -> Instance:
    value = _object(content)
    return Instance(uuid_of(text_of(value.get("uuid"))), text_of(value.get("name")), _memory(value.get("memory")))


def _memory(content: Any) -> Memory | None:
    if content is None:
        return None
    value = _object(content)
    total, free = _number(value.get("total"), MAX_BYTES), _number(value.get("free"), MAX_BYTES)
    return Memory(total, free) if total else None


def _compute_capability(value: Any) -> str | None:
    if value is None:
        return None
    major, minor = _items(value, 2)
    return f"{_number(major, 100)}.{_number(minor, 100)}"


def _cuda_version(number: int) -> str:
    """Return ``12.8`` for 12080."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError("no JSON object")


def _items(value: Any, limit: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise ValueError(f"no list of at most {limit}")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _number(value: Any, limit: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise ValueError("a number is missing or out of range")
    return value


def _flag(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def text_of(value: Any) -> str | None:
    """Return a short line without odd spaces, ``None`` for nothing. Raises ``ValueError`` for what is not one."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError("no short text")
    line = " ".join(value.split())
    if not line.isprintable():
        raise ValueError("text that cannot be printed")
    return line or None


def uuid_of(text: str | None) -> str | None:
    """Return a UUID; GPUs that are part of a processor have one of zeros, which names nothing."""
    return text if text is not None and text.partition("-")[2].strip("0-") else None


def clean(text: str) -> str:
    """Return a message as one short printable line."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:300]

"""What ``nvidia-smi`` prints: its table of GPUs, its XML, and the ways in which it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision.domain.units import MIB
from provision.facts.gpu import nvml
from provision.facts.gpu.nvml import Answer, Device, Instance, Memory, Refusal, clean, text_of, uuid_of
from provision.facts.gpu.pci import normalise_address
from provision.host.machine import Command, CommandResult, Machine

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BASIC_FIELDS = ("index", "uuid", "name", "pci.bus_id", "driver_version", "memory.total", "memory.free")
FIELDS = (*BASIC_FIELDS, "compute_cap", "mig.mode.current", "addressing_mode")
XML_ARGV = ("nvidia-smi", "-q", "-x")
TIMEOUT_S = 10.0
XML_TIMEOUT_S = 15.0
# Windows' driver and NixOS put it where neither root's PATH nor that of a service leads.
PLACES = "/usr/bin:/usr/lib/wsl/lib:/run/current-system/sw/bin"

_INFOROM_CORRUPT = 14  # a warning after a whole answer
_EXIT_UNKNOWN_ERROR = 255
_MAX_CHARACTERS = 8 << 20
# Most telling first: the text is the same in all releases, the exit status is not.
_PHRASES = (
    ("Driver/library version mismatch", nvml.MISMATCH),
    ("couldn't communicate with the NVIDIA driver", nvml.NOT_LOADED),
    ("Driver Not Loaded", nvml.NOT_LOADED),
    ("couldn't find libnvidia-ml.so", nvml.NO_LIBRARY),
    ("No devices were found", nvml.NO_DEVICES),
    ("Insufficient Permissions", nvml.NO_PERMISSION),
    ("GPU is lost", nvml.GPU_LOST),
    ("Unknown Error", nvml.UNKNOWN_ERROR),
)
_UNKNOWN_FIELD = "is not a valid field to query"
_NOTHING = re.compile(r"|N/A|None|\[.*\]")  # [N/A], [Not Supported], [Unknown Error] …
_NONE_OF_ITS_OWN = ("N/A", "[N/A]", "[Not Supported]")
_SIZE = re.compile(r"([0-9]{1,9})(?: MiB)?")
_LIBRARY_VERSION = re.compile(r"NVML library version: ([0-9]{1,5}(?:\.[0-9]{1,5}){1,3})")


def query(fields: Sequence[str]) -> tuple[str, ...]:
    """Return the command that prints a table of ``fields``."""
    return ("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv")


def ask(machine: Machine) -> Answer | Refusal:
    """Ask for every field, and again for the old ones where this release does not know one of the others.

    Raises ``TimeoutError`` where it hangs, ``ValueError`` where what it prints makes no sense.
    """
    result = _run(machine, query(FIELDS), TIMEOUT_S)
    if _UNKNOWN_FIELD in result.stdout + result.stderr:
        return _read(_run(machine, query(BASIC_FIELDS), TIMEOUT_S), BASIC_FIELDS)
    return _read(result, FIELDS)


def ask_xml(machine: Machine) -> Answer | Refusal:
    """Ask for everything; the only form that lists MIG instances. Raises as ``ask`` does."""
    result = _run(machine, XML_ARGV, XML_TIMEOUT_S)
    return parse_failure(result) or parse_xml(result.stdout)


def _run(machine: Machine, argv: tuple[str, ...], timeout_s: float) -> CommandResult:
    path = ":".join(part for part in (machine.env.get("PATH"), PLACES) if part)
    result = machine.run(Command(argv, timeout_s, {"PATH": path}))
    if result.timed_out:
        raise TimeoutError(f"nvidia-smi: {clean(result.stderr)}")
    return result


def _read(result: CommandResult, fields: Sequence[str]) -> Answer | Refusal:
    return parse_failure(result) or parse_csv(result.stdout, fields)


def parse_failure(result: CommandResult) -> Refusal | None:
    """Return how ``nvidia-smi`` failed, ``None`` where it did not. Some releases fail with an exit status of 0."""
    if result.missing:
        return Refusal(nvml.NOT_ASKED, "nvidia-smi is not there")
    if result.returncode < 0:
        return Refusal(nvml.CRASHED, f"nvidia-smi was ended by signal {-result.returncode}")
    answered = result.returncode in (0, _INFOROM_CORRUPT)
    said = result.stdout.partition("\n")[0] if answered else f"{result.stdout[:1000]} {result.stderr[:1000]}"
    known = next((code for phrase, code in _PHRASES if phrase in said), None)
    if answered and known is None:
        return None
    code = nvml.UNKNOWN_ERROR if result.returncode == _EXIT_UNKNOWN_ERROR else result.returncode
    return Refusal(code if known is None else known, clean(said))


def parse_library_version(message: str) -> str | None:
    """Return the version that the library gives itself when it does not fit the kernel's module."""
    match = _LIBRARY_VERSION.search(message)
    return match[1] if match else None


def parse_csv(text: str, fields: Sequence[str]) -> Answer:
    """Parse a table with or without its header and units; ``fields`` are the columns where there is no header.

    Raises ``ValueError`` for anything else.
    """
    import csv

    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("WARNING:")]
    try:
        table = list(csv.reader(lines[: nvml.MAX_DEVICES + 2], skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"no table: {error}") from error
    if table and table[0][0] == "index":
        fields = [cell.partition(" [")[0] for cell in table.pop(0)]
    if not table or len(table) > nvml.MAX_DEVICES:
        raise ValueError("a table without GPUs, or of too many")
    rows = [_row(cells, fields) for cells in table]
    driver = next((row["driver_version"] for row in rows if _given(row["driver_version"])), None)
    return Answer(text_of(driver), devices=tuple(_device_of_row(row) for row in rows))


def _row(cells: Sequence[str], fields: Sequence[str]) -> dict[str, str]:
    row = dict(zip(fields, (cell.strip() for cell in cells), strict=False))
    known = len(cells) == len(fields) and set(BASIC_FIELDS) <= row.keys()
    if not known or not re.fullmatch("[0-9]{1,3}", row["index"]):
        raise ValueError("no table of GPUs")
    return row


def _device_of_row(row: Mapping[str, str]) -> Device:
    address, capability = _given(row["pci.bus_id"]), _given(row.get("compute_cap", ""))
    if capability is not None and not re.fullmatch(r"[0-9]{1,2}\.[0-9]", capability):
        raise ValueError("no compute capability")
    memory = _memory(row["memory.total"], row["memory.free"])
    return Device(
        name=text_of(_given(row["name"])),
        uuid=uuid_of(text_of(_given(row["uuid"]))),
        pci=None if address is None else normalise_address(address),
        compute_capability=capability,
        memory=memory,
        mig=_enabled(row.get("mig.mode.current", "")),
        unified=_is_unified(row.get("addressing_mode", ""), row["memory.total"], memory),
    )


def parse_xml(text: str) -> Answer:
    """Parse the XML. Raises ``ValueError`` for anything else, and for a document that declares entities."""
    from xml.etree import ElementTree as ET

    # Entities can be declared in the document only, in a part that nvidia-smi never writes: without them there is
    # nothing to expand, and what lies outside the document is not read.
    if len(text) > _MAX_CHARACTERS or "<!ENTITY" in text or re.search(r"<!DOCTYPE[^>]*\[", text):
        raise ValueError("a document too long, or with declarations of its own")
    try:
        root = ET.fromstring(text)  # noqa: S314 - see above
    except ET.ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    gpus = root.findall("gpu")
    if root.tag != "nvidia_smi_log" or len(gpus) > nvml.MAX_DEVICES:
        raise ValueError("not what nvidia-smi writes, or too many GPUs")
    cuda = _given(_text(root, "cuda_version"))
    if cuda is not None and not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,2}", cuda):
        raise ValueError("no version of CUDA")
    driver = text_of(_given(_text(root, "driver_version")))
    return Answer(driver, cuda, tuple(_device_of_element(gpu) for gpu in gpus))


def _device_of_element(gpu: Element) -> Device:
    address = _given(gpu.get("id", ""))
    memory = _memory(_text(gpu, "fb_memory_usage/total"), _text(gpu, "fb_memory_usage/free"))
    instances = gpu.findall("mig_devices/mig_device")
    if len(instances) > nvml.MAX_INSTANCES:
        raise ValueError("too many instances")
    return Device(
        name=text_of(_given(_text(gpu, "product_name"))),
        uuid=uuid_of(text_of(_given(_text(gpu, "uuid")))),
        pci=None if address is None else normalise_address(address),
        memory=memory,
        mig=_enabled(_text(gpu, "mig_mode/current_mig")),
        instances=tuple(_instance(each) for each in instances),
        unified=_is_unified(_text(gpu, "addressing_mode"), _text(gpu, "fb_memory_usage/total"), memory),
    )


def _instance(element: Element) -> Instance:
    return Instance(
        uuid=uuid_of(text_of(_given(_text(element, "uuid")))),
        memory=_memory(_text(element, "fb_memory_usage/total"), _text(element, "fb_memory_usage/free")),
    )


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _given(cell: str) -> str | None:
    return None if _NOTHING.fullmatch(cell) else cell


def _enabled(cell: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(cell)


def _is_unified(mode: str, total: str, memory: Memory | None) -> bool | None:
    if mode == "ATS" or total in _NONE_OF_ITS_OWN or _bytes(total) == 0:
        return True
    return None if memory is None else False


def _memory(total: str, free: str) -> Memory | None:
    sizes = [_bytes(cell) for cell in (total, free)]
    return Memory(sizes[0], sizes[1]) if sizes[0] and sizes[1] is not None else None


def _bytes(cell: str) -> int | None:
    if _given(cell) is None:
        return None
    match = _SIZE.fullmatch(cell)
    if match is None:
        raise ValueError("no size in MiB")
    return int(match[1]) * MIB

"""ROCm's own programs: asked only for what the kernel does not tell, above all in WSL2, which has no KFD."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from provision.facts.gpu.kfd import pci_address
from provision.facts.gpu.pci import normalise_address
from provision.facts.probing import Recorder
from provision.facts.programs import ask
from provision.host.machine import Machine

DIRECTORY = "/opt/rocm/bin"
ROCMINFO = ("rocminfo",)
AMD_SMI = ("amd-smi", "static", "--json")
ROCM_SMI = ("rocm-smi", "--showproductname", "--showmeminfo", "vram", "gtt", "--json")
ENUMERATOR = ("rocm_agent_enumerator",)

_AGENT = re.compile(r"^Agent [0-9]+\s*$", re.MULTILINE)
_POOL = re.compile(r"Segment:\s*GLOBAL;.*\n\s*Size:\s*([0-9]{1,15})\(0x[0-9a-f]+\) KB")
_GFX = re.compile(r"gfx[0-9]{1,2}[0-9a-f]{2}")
_REFUSALS = re.compile(r"Unable to open /dev/kfd[^\n\x1b]*|ROCk module is NOT l[^\n\x1b]*", re.IGNORECASE)
_CARD = re.compile(r"card[0-9]{1,4}")
_MAX_BYTES = 1 << 60
_MAX_STARTS = 50


class RocmGpu(NamedTuple):
    """One GPU as a program of ROCm's describes it; each tells some of it.

    ``node`` is its number in KFD, ``pci`` its address, ``slot`` the address without its domain. ``apu`` says that
    it is a part of the processor. ``memory_bytes`` is what it can allocate.
    """

    name: str | None = None
    gfx: str | None = None
    node: int | None = None
    pci: str | None = None
    slot: str | None = None
    apu: bool | None = None
    memory_bytes: int | None = None


def parse_rocminfo(text: str) -> tuple[RocmGpu, ...]:
    """Return the GPUs among the agents, in their order.

    Raises ``ValueError`` with rocminfo's own words where it was refused, and where it lists no agent at all.
    """
    refusal = _REFUSALS.search(text)
    if refusal is not None:
        raise ValueError(refusal[0].strip())
    agents = _AGENT.split(text)[1:]
    if not agents:
        raise ValueError("it lists no agents")
    return tuple(_rocminfo_gpu(agent) for agent in agents if _field(agent, "Device Type") == "GPU")


def _rocminfo_gpu(agent: str) -> RocmGpu:
    properties = _field(agent, "Memory Properties")
    pools = [int(size) << 10 for size in _POOL.findall(agent)]
    node, location = (_integer(_field(agent, name)) for name in ("Node", "BDFID"))
    return RocmGpu(
        name=_told(_field(agent, "Marketing Name")),
        gfx=_gfx(_field(agent, "Name")),
        node=node,
        slot=pci_address(0, location)[5:] if location else None,
        apu=None if properties is None else "APU" in properties,
        memory_bytes=_size(max(pools, default=0)),
    )


def _field(agent: str, name: str) -> str | None:
    """Return the first value of ``name`` on the agent's own level; those of its pools are indented deeper."""
    match = re.search(rf"^  {name}:(.*)$", agent, re.MULTILINE)
    return None if match is None else match[1].strip()


def parse_amd_smi(text: str) -> tuple[RocmGpu, ...]:
    """Parse ``amd-smi static --json``: a list, since version 26 inside of ``gpu_data``. Raises ``ValueError``."""
    document = _first_json(text)
    entries = document.get("gpu_data") if isinstance(document, dict) else document
    if isinstance(entries, list):
        return tuple(_amd_smi_gpu(entry) for entry in entries if isinstance(entry, dict))
    raise ValueError("it has no list of GPUs")


def _amd_smi_gpu(entry: Mapping[str, Any]) -> RocmGpu:
    asic, bus, vram = (_section(entry, name) for name in ("asic", "bus", "vram"))
    size, address = _section(vram, "size"), _told(bus.get("bdf"))
    megabytes = _integer(size.get("value")) if size.get("unit") == "MB" else None
    return RocmGpu(
        name=_told(asic.get("market_name")),
        gfx=_gfx(asic.get("target_graphics_version")),
        pci=normalise_address(address) if address else None,
        memory_bytes=_size((megabytes or 0) << 20),  # its MB are MiB: 24560 for a card with 25753026560 bytes
    )


def parse_rocm_smi(text: str) -> tuple[RocmGpu, ...]:
    """Parse ``rocm-smi --json``, which may print warnings before its document. Raises ``ValueError``."""
    document = _first_json(text)
    entries = document.items() if isinstance(document, dict) else ()
    cards = [card for key, card in entries if _CARD.fullmatch(key) and isinstance(card, dict)]
    if not cards:
        raise ValueError("it lists no cards")
    return tuple(_rocm_smi_gpu({key.lower(): value for key, value in card.items()}) for card in cards)


def _rocm_smi_gpu(card: Mapping[str, Any]) -> RocmGpu:
    return RocmGpu(
        name=_told(card.get("card series")),
        gfx=_gfx(card.get("gfx version")),
        node=_integer(card.get("node id")),
        memory_bytes=_size(_integer(card.get("vram total memory (b)")) or 0),
    )


def parse_enumerator(text: str) -> tuple[RocmGpu, ...]:
    """Parse ``rocm_agent_enumerator``: a target a line, ``gfx000`` for a processor. Raises ``ValueError``."""
    targets = text.split()
    if not targets or not all(_GFX.fullmatch(target) for target in targets):
        raise ValueError("it is no list of gfx targets")
    return tuple(RocmGpu(gfx=target) for target in targets if target != "gfx000")


Parse = Callable[[str], tuple[RocmGpu, ...]]
_PROGRAMS: tuple[tuple[tuple[str, ...], Parse], ...] = (
    (ROCMINFO, parse_rocminfo),
    (AMD_SMI, parse_amd_smi),
    (ROCM_SMI, parse_rocm_smi),
    (ENUMERATOR, parse_enumerator),
)


def ask_rocminfo(machine: Machine, record: Recorder) -> tuple[RocmGpu, ...]:
    """Return what rocminfo lists, nothing where it is not installed or fails."""
    return record.run(ROCMINFO[0], ROCMINFO[0], lambda: _ask(machine, ROCMINFO, parse_rocminfo), ())


def ask_any(machine: Machine, record: Recorder) -> tuple[str, tuple[RocmGpu, ...]]:
    """Ask one program after the other, until one lists a GPU; return its name and the list.

    Where one does not answer in time the others are not asked: they would wait for the same driver.
    """
    hung: list[str] = []
    none: tuple[RocmGpu, ...] = ()

    def read(argv: tuple[str, ...], parse: Parse) -> tuple[RocmGpu, ...] | None:
        try:
            return _ask(machine, argv, parse)
        except TimeoutError:
            hung.append(argv[0])
            raise

    for argv, parse in _PROGRAMS:
        gpus = record.run(argv[0], " ".join(argv), partial(read, argv, parse), none)
        if gpus:
            return argv[0], gpus
        if hung:
            break
    return "", ()


def _ask(machine: Machine, argv: tuple[str, ...], parse: Parse) -> tuple[RocmGpu, ...] | None:
    text = ask(machine, argv, DIRECTORY)
    return None if text is None else parse(text)


def _first_json(text: str) -> Any:
    """Return the first JSON object or list that begins a line; what stands before it is for people."""
    import json

    decoder = json.JSONDecoder()
    for start in _starts(text):
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("it is no JSON")


def _starts(text: str) -> Iterator[int]:
    matches = re.finditer(r"^[\[{]", text, re.MULTILINE)
    return (match.start() for _, match in zip(range(_MAX_STARTS), matches, strict=False))


def _section(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = entry.get(name)
    return section if isinstance(section, dict) else {}


def _told(value: object) -> str | None:
    """Return a text that says something: programs write ``N/A`` for what they do not know."""
    text = value.strip() if isinstance(value, str) else ""
    return None if text.upper() in ("", "N/A") else text


def _gfx(value: object) -> str | None:
    text = _told(value)
    return text if text is not None and _GFX.fullmatch(text) else None


def _integer(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < _MAX_BYTES else None
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value) else None


def _size(value: int) -> int | None:
    return value if 0 < value < _MAX_BYTES else None

"""Asking NVIDIA's library by the ways there are: itself in a process of its own, then through ``nvidia-smi``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from provision.facts.gpu import nvidia_smi, nvml
from provision.facts.gpu.nvidia_obstacles import choose
from provision.facts.gpu.nvml import Answer, Device, Instance, Refusal
from provision.facts.probing import Recorder
from provision.host.machine import Machine

NVML = "nvml"
SMI = "nvidia-smi"
SMI_XML = "nvidia-smi-xml"


class Reply(NamedTuple):
    """What came of asking. ``sources`` are those that answered; ``library`` is the version that a misfit told."""

    content: Answer | Refusal
    sources: tuple[str, ...] = ()
    library: str | None = None


def ask(machine: Machine, record: Recorder, in_wsl: bool) -> Reply:
    """Ask for all GPUs; never raises. Each way is a probe of its own in ``record``.

    After a library that hangs nothing else is asked, since ``nvidia-smi`` would wait for the same driver.
    """
    first = _recorded(record, NVML, "libnvidia-ml.so.1", partial(nvml.ask, machine, in_wsl))
    if isinstance(first, Answer):
        return _with_instances(machine, record, Reply(first, (NVML,)))
    if first.code == nvml.TIMED_OUT:
        return Reply(first)
    second = _recorded(record, SMI, SMI, partial(nvidia_smi.ask, machine))
    if isinstance(second, Answer):
        return _with_instances(machine, record, Reply(second, (SMI,)))
    return Reply(choose(first, second), library=nvidia_smi.parse_library_version(second.message))


def _recorded(record: Recorder, name: str, source: str, read: Callable[[], Answer | Refusal]) -> Answer | Refusal:
    """Record a refusal as a failed probe, a library or program that is not there as a missing one; return either."""
    refusals: list[Refusal] = []

    def answer() -> Answer | None:
        try:
            content = read()
        except TimeoutError as error:
            refusals.append(Refusal(nvml.TIMED_OUT, str(error)))
            raise
        except Exception as error:
            refusals.append(Refusal(nvml.NONSENSE, nvml.clean(f"{source}: {error}")))
            raise
        if isinstance(content, Answer):
            return content
        refusals.append(content)
        if content.code in (nvml.NO_LIBRARY, nvml.NOT_ASKED):
            return None
        raise ValueError(content.message if content.code < 0 else f"NVML {content.code}: {content.message}")

    content = record.run(name, source, answer, None)
    return content if content is not None else refusals[-1]


def _with_instances(machine: Machine, record: Recorder, reply: Reply) -> Reply:
    """Ask for the instances of partitioned GPUs where the answer has none; only the XML lists them."""
    answer = reply.content
    if not isinstance(answer, Answer) or not any(device.mig and not device.instances for device in answer.devices):
        return reply
    whole = _recorded(record, SMI_XML, "nvidia-smi -q -x", partial(nvidia_smi.ask_xml, machine))
    if not isinstance(whole, Answer):
        return reply
    known = {key: device.instances for device in whole.devices for key in (device.pci, device.uuid) if key is not None}
    devices = tuple(_filled(device, known) for device in answer.devices)
    sources = tuple(dict.fromkeys((*reply.sources, SMI)))
    return reply._replace(content=answer._replace(cuda=answer.cuda or whole.cuda, devices=devices), sources=sources)


def _filled(device: Device, known: Mapping[str, tuple[Instance, ...]]) -> Device:
    if not device.mig or device.instances:
        return device
    found = (known.get(key) for key in (device.pci, device.uuid) if key is not None)
    return device._replace(instances=next((instances for instances in found if instances), ()))

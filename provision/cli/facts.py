"""``fabric facts``."""

from __future__ import annotations

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.domain.facts import Facts


@verb("facts")
def command(session: Session) -> Result:
    """Show what was found out about this machine. Unknown is null, never a guess."""
    import msgspec

    facts = session.fabric.facts()
    return Result(msgspec.to_builtins(facts), lambda: show_facts(facts))


def show_facts(facts: Facts) -> None:
    """Show facts as a person reads them."""
    os, cpu, memory = facts.os, facts.cpu, facts.memory
    cores = f"{cpu.cores_usable} usable of {cpu.cores_logical} ({cpu.cores_physical} physical)"
    libc = f"{os.libc.name} {os.libc.version}" if os.libc.name else None
    output.pairs(
        [
            ("system", " ".join(filter(None, (os.system, os.distribution, os.version, os.arch)))),
            ("libc", libc),
            ("kernel", os.kernel),
            ("container", os.container),
            ("processor", cpu.model),
            ("cores", cores),
            ("memory", f"{output.size(memory.available_bytes)} available of {output.size(memory.total_bytes)}"),
            ("limit", output.size(memory.limit_bytes) if memory.limit_bytes else None),
            ("disk", f"{output.size(facts.disk.free_bytes)} free at {facts.disk.path}"),
            ("GPUs", len(facts.gpus) or None),
        ]
    )

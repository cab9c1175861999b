"""What is worth telling about a machine, under codes that never change."""

from __future__ import annotations

from enum import Enum

from provision.domain.frozen import frozen


class Severity(str, Enum):
    """How much a finding matters: an error stops ``up``, a warning costs something."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@frozen
class Finding:
    """Something worth telling about the machine, under a code that never changes."""

    code: str
    severity: Severity
    evidence: str
    fix: str

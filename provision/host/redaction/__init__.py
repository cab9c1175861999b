"""Taking out of a capture what tells who and which machine it is from."""

from provision.host.redaction.identity import Identity, read_identity
from provision.host.redaction.redactor import Redactor

__all__ = ["Identity", "Redactor", "read_identity"]

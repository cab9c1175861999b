"""What fabric makes on a machine."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """What a resource is, in the order in which they are made."""

    ENGINE = "engine"
    MODEL = "model"
    CONFIG = "config"
    SERVICE = "service"
    SERVER = "server"


class Action(str, Enum):
    """What happens to one resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    RESTART = "restart"
    NONE = "none"

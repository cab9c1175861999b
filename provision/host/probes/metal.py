"""Print what Metal says of its default device, as one JSON document; see ``facts/apple.py``.

``{"name": str, "working_set_bytes": int, "unified": bool}``, or ``{"error": str}`` where Metal has no device or could
not be asked. Standard library only: the interpreter runs it isolated, in a process of its own, because a driver's
crash takes the process with it.

It was written after Apple's documentation and headers, and has never run on a Mac.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from ctypes import CDLL, c_bool, c_char_p, c_uint64, c_void_p
from typing import Any

# Apple's documentation: a command line program has no default device unless it links CoreGraphics.
CORE_GRAPHICS = "/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics"
METAL = "/System/Library/Frameworks/Metal.framework/Metal"
OBJECTIVE_C = "/usr/lib/libobjc.A.dylib"
NO_DEVICE = "Metal has no device"


def describe() -> dict[str, Any]:
    """Ask the default device. Raises ``OSError`` or ``AttributeError`` where a library or a symbol is missing."""
    CDLL(CORE_GRAPHICS)
    create = CDLL(METAL).MTLCreateSystemDefaultDevice
    create.restype, create.argtypes = c_void_p, ()
    device = create()
    if not device:
        return {"error": NO_DEVICE}
    send = _messenger(CDLL(OBJECTIVE_C))
    name = send(c_void_p, device, "name")  # an NSString
    text = send(c_char_p, name, "UTF8String") if name else None
    return {
        "name": text.decode("utf-8", errors="replace") if text else None,
        "working_set_bytes": send(c_uint64, device, "recommendedMaxWorkingSetSize"),
        "unified": send(c_bool, device, "hasUnifiedMemory"),
    }


def _messenger(runtime: CDLL) -> Callable[[Any, int, str], Any]:
    """Return a function that sends a message without arguments and returns an answer of the given C type.

    ``objc_msgSend`` takes the signature of the method that it calls, never a variadic one: on Arm those pass their
    arguments in other places.
    """
    register = runtime.sel_registerName
    register.restype, register.argtypes = c_void_p, (c_char_p,)

    def send(result: Any, receiver: int, message: str) -> Any:
        function = runtime["objc_msgSend"]  # a new object each time, so that the signatures do not mix
        function.restype, function.argtypes = result, (c_void_p, c_void_p)
        return function(receiver, register(message.encode("ascii")))

    return send


def main() -> None:
    """Print the document; the exit status is 0 in every case."""
    try:
        document = describe()
    except (OSError, AttributeError, ValueError) as error:
        document = {"error": str(error)}
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()

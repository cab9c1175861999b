"""Who may read the API key."""

from __future__ import annotations

import os
import shlex
import stat

from provision.domain.security_check import Outcome, SecurityCheck
from provision.host.layout import Layout

CODE = "key-file"


def check(layout: Layout) -> SecurityCheck:
    """Look at the file of the key and at its directory."""
    seen = []
    for path in (layout.secrets, layout.api_key):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            return SecurityCheck(CODE, Outcome.UNKNOWN, f"{path} cannot be looked at: {error.strerror}")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            fix = f"chmod go-rwx {shlex.quote(str(path))}, and use another key: others may have read it."
            return SecurityCheck(CODE, Outcome.FAILED, f"{path} has mode {mode:04o}", fix)
        if status.st_uid != os.geteuid():
            fix = f"chown {os.geteuid()} {shlex.quote(str(path))}, and use another key."
            return SecurityCheck(CODE, Outcome.FAILED, f"{path} belongs to user {status.st_uid}", fix)
        seen.append(f"{path} has mode {mode:04o}")
    return SecurityCheck(CODE, Outcome.OK, " and ".join(seen) or "no key is stored")

"""``python -m provision`` is the ``fabric`` command."""

from provision.cli.main import run

if __name__ == "__main__":
    raise SystemExit(run())

"""The command line, in the extra `cli`."""

import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line, or say which extra it needs."""
    # A polite end (from `kill` or a job scheduler) unwinds like an interrupt, so that temporary
    # files go.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from gridgrad.app.cli import app

        app()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "gridgrad":
            raise
        print(
            f"gridgrad: the command line needs {missing.name}, "
            "which comes with: pip install 'gridgrad[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("gridgrad: Interrupted.", file=sys.stderr)
        sys.exit(130)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)

"""The command line, in the extra `cli`."""

import atexit
import logging
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

# What a shell shows of a command that a signal ended, which the commands end with.
_SIGNALS = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM)}


def main() -> None:
    """Run the command line, or say which extra it needs."""
    # A polite end (from `kill` or a job scheduler) unwinds like an interrupt, so that temporary
    # files go.
    signal.signal(signal.SIGTERM, _terminate)
    # Tasks of Zarr's that fail beside the one whose fault is told.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    try:
        from gridgrad.app.cli import app

        app()
    except SystemExit as end:
        if end.code in _SIGNALS:
            _die(_SIGNALS[end.code])
        if isinstance(end.code, int) and end.code:
            _leave(end.code)
        if not end.code:
            _finish()
        raise
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "gridgrad":
            raise
        print(
            f"gridgrad: the command line needs {missing.name}, "
            "which comes with: pip install 'gridgrad[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    except OSError as fault:  # stdout's, where no command is run: --help, --version
        print(f"gridgrad: {fault.strerror or fault}.", file=sys.stderr)
        _leave(2)
    except KeyboardInterrupt:
        print("gridgrad: Interrupted.", file=sys.stderr)
        _die(signal.SIGINT)


def _die(number: signal.Signals) -> None:
    """End by the signal itself, once all is unwound.

    A shell's loop over many files ends only with a command that a signal ended.
    """
    _flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _finish() -> None:
    """End after success, without the destructors of C++ libraries, unless there is nowhere to write to.

    ecCodes and GDAL each bring a PROJ library of their own; with both in one process, the destructors of one
    free what is the other's, and the process is aborted.
    """
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(0)


def _leave(status: int) -> None:
    """End where work was cut off, once all is unwound.

    What the interpreter would do last is left out: Zarr's event loop would tell of each task that will not
    be finished.
    """
    _flush()
    os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)

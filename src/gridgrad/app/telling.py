"""What is said on stderr, and how every fault ends: one sentence, a status, never a traceback."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from gridgrad.errors import GridError


def say(sentence: str) -> None:
    """One line on stderr, whatever the sentence was made of."""
    print("gridgrad:", " ".join(sentence.split()), file=sys.stderr)


@contextmanager
def told() -> Iterator[None]:
    """Tell what goes wrong, and end with status 2 (130 after an interrupt)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot write is shown in escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
        return
    except BrokenPipeError:
        # The reader has seen enough (`| head`); the table is the last thing to come, so nothing is
        # lost.
        _drop_stdout()
        raise typer.Exit(0) from None
    except KeyboardInterrupt as fault:
        say(_noted("Interrupted.", fault))
        raise typer.Exit(130) from None
    except GridError as fault:
        say(_noted(str(fault), fault))
    except MemoryError as fault:
        say(_noted("There is not enough memory; --memory and --chunks make it less.", fault))
    except OSError as fault:
        about = f": {fault.filename!r}" if fault.filename else ""
        say(_noted(f"{fault.strerror or fault}{about}.", fault))
        _drop_stdout()
    except (ModuleNotFoundError, typer.Exit):
        # A missing module is one of the extra `cli`, of which `main` tells.
        raise
    except Exception as fault:
        if "GRIDGRAD_TRACEBACK" in os.environ:
            raise
        say(
            f"This is a fault in gridgrad, not in your input: {type(fault).__name__}: {fault} "
            "(GRIDGRAD_TRACEBACK=1 in the environment shows where)."
        )
    raise typer.Exit(2)


def _noted(sentence: str, fault: BaseException) -> str:
    """What went wrong, and what was said about it on its way."""
    return " ".join([sentence, *getattr(fault, "__notes__", ())])


def _drop_stdout() -> None:
    """Send what is still to be printed nowhere, so that the interpreter does not trip over it at
    its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

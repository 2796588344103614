"""The command line: signals and exit codes. `commands.py` has what each command does."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from exporter.arguments import options_of
from exporter.commands import FAILED, INTERRUPTED, MISUSED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    # A SIGHUP would end a process without a handler. Keep it blocked until there is one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    options = options_of(arguments)
    if not options.terminal:
        # structlog imports rich if it is installed, for tracebacks that are not used here: 12 MB in
        # a daemon.
        sys.modules["rich"] = None  # type: ignore[assignment]
    from exporter import logging_setup, signals
    from exporter.scrub import guard_tracebacks

    guard_tracebacks()
    logging_setup.keep_streams()
    if options.signals is not None:
        options.signals = signals.Signals(reloads=options.signals == "reload")
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = _code(options)
    if options.signals is not None:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """Exit at once, because a client's thread may hang with its broker.

    Signals cannot interrupt the last steps any more.
    """
    from exporter import logging_setup

    logging_setup.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or FAILED
    os._exit(code)


def _code(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from exporter.config import ConfigError
    from exporter.scrub import scrub
    from exporter.task_log import EXHAUSTION, is_exhaustion
    from exporter.web.server import ServerError
    from exporter.web.webconfig import WebConfigError

    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except (ConfigError, WebConfigError) as error:
        print(scrub(str(error)), file=sys.stderr)
        return MISUSED
    except ServerError as error:
        print(scrub(str(error)), file=sys.stderr)
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        print(EXHAUSTION, file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of the output has closed it, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + 2  # SIGINT
    return code

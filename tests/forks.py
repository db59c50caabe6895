"""Processes of Python that start at once: forks of one that has imported what takes long.

Run as a script, this is that process: it forks a child for each request on its standard input, a
socket, which also brings the files that are the child's standard output and errors. Where it
cannot be done so, processes are started as usual.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer
from typing import IO, Any, NamedTuple, TypeAlias

__all__ = ["Done", "Forks", "Process", "opened"]

_MESSAGE = 1 << 16


class Done(NamedTuple):
    """What a process left."""

    status: int
    out: str
    err: str


class Child:
    """A process that runs; as :class:`subprocess.Popen`, as far as tests need it."""

    def __init__(self, server: socket.socket, pid: int, stdout: IO[str]) -> None:
        self._server = server
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            self._server.send(json.dumps({"wait": self.pid}).encode())
            self.returncode = json.loads(self._server.recv(_MESSAGE))
        return self.returncode


Process: TypeAlias = "Child | subprocess.Popen[str]"


class Forks:
    """Starts processes; a context manager, by :func:`opened`.

    Args:
        server: to the process that forks; None where there is none.
    """

    def __init__(self, server: socket.socket | None) -> None:
        self._server = server

    def start(
        self,
        arguments: Sequence[object],
        cwd: Path,
        *,
        imports: Sequence[str] = (),
        stderr: IO[Any] | None = None,
    ) -> Process:
        """Start Python.

        Args:
            arguments: of the interpreter: a script or ``-c`` and code, and what these are given.
            cwd: where it runs.
            imports: modules that are imported beforehand, where they can be.
            stderr: where errors go to; None for those of this process.
        """
        words = [str(argument) for argument in arguments]
        if self._server is None:
            return subprocess.Popen(
                [sys.executable, *words], stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=cwd
            )
        request = json.dumps({"arguments": words, "cwd": str(cwd), "imports": [*imports]})
        read, write = os.pipe()
        try:
            files = [write, (stderr or sys.__stderr__).fileno()]
            socket.send_fds(self._server, [request.encode()], files)
        finally:
            os.close(write)
        pid = json.loads(self._server.recv(_MESSAGE))
        return Child(self._server, pid, os.fdopen(read, encoding="utf-8"))

    def run(
        self, arguments: Sequence[object], cwd: Path, *, imports: Sequence[str] = (), seconds: float
    ) -> Done:
        """Run Python to its end, or kill it after some seconds; arguments as of :meth:`start`."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            child = self.start(arguments, cwd, imports=imports, stderr=errors)
            clock = Timer(seconds, child.kill)
            clock.start()
            try:
                assert child.stdout is not None
                with child.stdout as stream:
                    out = stream.read()
                status = child.wait()
            finally:
                clock.cancel()
            errors.seek(0)
            return Done(status, out, errors.read())


@contextlib.contextmanager
def opened() -> Iterator[Forks]:
    """What starts processes, for as long as it is open."""
    if sys.platform != "linux":
        yield Forks(None)
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            # Not among the sources: they lack the native module.
            server = subprocess.Popen(
                [sys.executable, __file__], stdin=theirs, cwd=tempfile.gettempdir()
            )
        yield Forks(ours)
    server.wait()


def _serve() -> None:
    """Answer requests until there are no more."""
    server = socket.socket(fileno=os.dup(0))
    sys.path.pop(0)  # of this file
    while True:
        message, files, _, _ = socket.recv_fds(server, _MESSAGE, 2)
        if not message:
            return
        request = json.loads(message)
        if "wait" in request:
            status = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            server.send(json.dumps(status).encode())
            continue
        for name in request["imports"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        if pid := os.fork():
            for file in files:
                os.close(file)
            server.send(json.dumps(pid).encode())
            continue
        server.close()
        for place, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
            os.dup2(file, place)
            os.close(file)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
        os.chdir(request["cwd"])
        # Without the interpreter's own end, which would take apart what was imported beforehand.
        os._exit(_status(request["arguments"]))


def _status(arguments: list[str]) -> int:
    """Run what is asked for, and what is registered to run at exit; returns the exit status."""
    status = 0
    try:
        _run(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except Exception:  # noqa: BLE001 - as the interpreter's own end does
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _run(arguments: list[str]) -> None:
    first, *others = arguments
    if first == "-c":
        code, *others = others
        sys.argv = ["-c", *others]
        sys.path.insert(0, "")
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [first, *others]
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _serve()

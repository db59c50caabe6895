"""Builds the kernels with a sanitizer of GCC or Clang and runs Python with them (Linux).

    python tools/sanitize.py address                 AddressSanitizer and UBSan: the kernel tests
    python tools/sanitize.py thread                  ThreadSanitizer: the same
    python tools/sanitize.py address tests/fuzz_kernels.py --seconds 600
    python tools/sanitize.py --no-build address -m pytest tests/test_segment.py

What follows the kind is run by Python in a virtual environment of its own, build/sanitize-KIND/env,
which sees the packages of the environment that runs this script, and in place of an installed
sparseret one that was built with the sanitizer from these sources. The installation itself is left
alone; remove the folder when done. $CXX chooses the compiler.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

TESTS = [
    "test_kernel*.py", "test_impact*.py", "test_segment*.py", "test_inverted.py", "test_recall.py",
    "test_retriever_exact.py", "test_vocabulary_head.py", "test_random_projection.py",
    "test_sdr_index.py", "test_top_k.py",
]  # fmt: skip
"""All that use the native module hard, threads and altered files among them."""


class Kind(NamedTuple):
    flags: str
    libraries: tuple[str, ...]
    """Preloaded: Python itself is not instrumented, and a sanitizer must be there first."""
    options: dict[str, str]
    """Environment that sets the sanitizer up."""


_UNDEFINED = "print_stacktrace=1:halt_on_error=1"

KINDS = {
    "address": Kind(
        # Conversions of floats are not part of "undefined", and as undefined as the rest.
        "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all",
        # Exceptions are caught only if the C++ library is there before the first extension.
        ("libasan.so", "libstdc++.so.6"),
        {
            # Python keeps what it allocated until it ends. Sizes that no machine has are refused
            # as by the system, and not reported.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=1",
            "UBSAN_OPTIONS": _UNDEFINED,
            "PYTHONMALLOC": "malloc",  # so that arrays end where they end
        },
    ),
    "thread": Kind(
        "-fsanitize=thread -fno-sanitize-recover=all",
        ("libtsan.so", "libstdc++.so.6"),
        {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:exitcode=66"},
    ),
}


def compiler() -> str:
    """The C++ compiler CMake would take."""
    name = os.environ.get("CXX") or "c++"
    if not shutil.which(name):
        raise SystemExit(f"no compiler {name!r}: install GCC or Clang, or set CXX")
    return name


def library(name: str) -> str:
    """Path of a runtime library of the compiler."""
    names = [name]
    if name.startswith(("libasan", "libtsan")):  # Clang's own name for the same
        names.append(f"libclang_rt.{name[3:7]}-{os.uname().machine}.so")
    for candidate in names:
        command = [compiler(), f"-print-file-name={candidate}"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if Path(answer).is_absolute():
            return answer
    raise SystemExit(f"{compiler()} has no {name}: install its sanitizer runtime, or set CXX")


def build(kind: Kind, folder: Path) -> Path:
    """Install the package, sanitized, into an environment in ``folder``; returns its Python."""
    env = folder / "env"
    python = env / "bin" / "python"
    if not python.exists():
        venv.create(env, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = env / "lib" / version / "site-packages"
    # A plain entry of sys.path: its own .pth files, which an editable install relies on, are not
    # read, so that only the sanitized package is found.
    (packages / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    command = [
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
        "--force-reinstall", "--ignore-installed", "--no-warn-script-location",
        f"--config-settings=build-dir={folder / 'cmake'}",
        "--config-settings=cmake.build-type=Debug",
        "--config-settings=install.strip=false",
        str(ROOT),
    ]  # fmt: skip
    if all(importlib.util.find_spec(name) for name in ("nanobind", "scikit_build_core")):
        command.insert(-1, "--no-build-isolation")  # compiles only what has changed
    flags = f"{kind.flags} -O1 -fno-omit-frame-pointer"
    environment = {**os.environ, "CXX": compiler(), "CXXFLAGS": flags, "LDFLAGS": kind.flags}
    subprocess.run(command, check=True, env=environment, cwd=folder)
    return python


def absolute(word: str) -> str:
    """An argument of Python for another working folder: here, Python would find the sources, which
    have no kernels.
    """
    path = Path(word.split("::")[0])
    try:
        return str(path.resolve()) + word[len(str(path)) :] if path.exists() else word
    except OSError:  # no path but a program
        return word


def main() -> int:
    """Build, run, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument(
        "--no-build", action="store_true", help="take what an earlier call has built"
    )
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="of Python; by default the kernel tests"
    )
    given = parser.parse_args()
    kind = KINDS[given.kind]
    folder = ROOT / "build" / f"sanitize-{given.kind}"
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "env" / "bin" / "python"
    if not given.no_build:
        python = build(kind, folder)
    elif not python.exists():
        raise SystemExit(f"{folder} holds no build: leave --no-build out")
    tests = sorted(str(path) for name in TESTS for path in (ROOT / "tests").glob(name))
    arguments = given.arguments or ["-m", "pytest", "-q", *tests]
    arguments = [absolute(word) for word in arguments]
    environment = {
        **os.environ,
        **kind.options,
        "LD_PRELOAD": ":".join(map(library, kind.libraries)),
        "OPENBLAS_NUM_THREADS": "1",  # its threads are not instrumented
    }
    print(f"{given.kind}: python {shlex.join(arguments)}", flush=True)
    return subprocess.run([str(python), *arguments], env=environment, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())

"""A process that reads what others wrote gives up what it does not need, and cannot take it back.

What holds where:

    Linux, x86-64 and ARM64     no socket, no other program (seccomp)
    Linux 5.13 and later        no file read but Python's and the system's libraries, none changed,
                                made or removed outside one folder (Landlock)
    every POSIX system          bounds on memory, on the size of a file, no core dump (limits)

Where a kernel has neither of the first two, a file cannot grow by a byte, which is the most that
plain limits give; the network stays open, and what the user may read can be read. Written on the
kernel's own interface, since the packages for it are a pre-release (landlock) and one that needs a
system library (pyseccomp).

Source: Linux' Documentation/userspace-api/landlock.rst and seccomp_filter.rst.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# Of the kernel's headers; the numbers of Landlock's calls are the same on every processor.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
PATH_BENEATH, VERSION_ASKED = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE = 1 << 13, 1 << 14
REMOVES_AND_MAKES = sum(1 << bit for bit in range(4, 13))
TCP = 0b11  # to listen and to connect
SCOPES = 0b11  # abstract sockets and signals reach this process and its children alone
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # REFUSE: with EPERM
FOREIGN_CALLS = 0x40000000  # x86-64's second table of calls begins here
LOAD, EQUAL, AT_LEAST, ANSWER = 0x20, 0x15, 0x35, 0x06  # instructions of the filter

# What libraries read of a system while they are loaded and work.
READ = ("/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/sys",
        "/nix/store", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
        "/proc/version", "/proc/filesystems", "/proc/sys", "/proc/driver", "/dev/urandom",
        "/dev/random", "/dev/zero")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Processor:
    """architecture: as seccomp names it. refused: numbers of system calls by their names."""

    architecture: int
    refused: Mapping[str, int]


PROCESSORS = {
    "x86_64": Processor(
        architecture=0xC000003E,
        refused={
            "socket": 41, "connect": 42, "bind": 49, "listen": 50, "socketpair": 53,
            "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310,
            "process_vm_writev": 311, "io_uring_setup": 425, "pidfd_getfd": 438,
        },
    ),
    "aarch64": Processor(
        architecture=0xC00000B7,
        refused={
            "socket": 198, "connect": 203, "bind": 200, "listen": 201, "socketpair": 199,
            "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
            "process_vm_writev": 271, "io_uring_setup": 425, "pidfd_getfd": 438,
        },
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What holds in this process: network and other programs closed, writing closed."""

    calls: bool
    files: bool

    def __str__(self) -> str:
        closed = [
            name
            for name, holds in (
                ("no network, no other program", self.calls),
                ("no file but libraries, a scratch folder to write to", self.files),
            )
            if holds
        ]
        return "; ".join([*closed, "memory and files bounded"])


def confine(scratch: Path, memory: int) -> Confinement:  # pragma: no cover
    """Close what this process does not need, for good, for itself and all that it starts.

    To be called before any thread is started: what runs already stays as it is.

    Args:
        scratch: the one folder in which files may be made and changed.
        memory: bytes that the process may hold as its own.
    """
    files, calls = False, False
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        files = _close_files(libc, scratch)
        calls = _close_calls(libc)
    _limit(resource.RLIMIT_CORE, 0)
    # macOS has no such limit; there nothing bounds the memory but the machine's own.
    _limit(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, memory)
    if not files:
        _limit(resource.RLIMIT_FSIZE, 0)
    return Confinement(calls=calls, files=files)


def _limit(what: int, most: int) -> None:  # pragma: no cover
    _, hard = resource.getrlimit(what)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(what, (bound, bound))
    except (OSError, ValueError):  # this system does not bound that
        return


def _close_files(libc: ctypes.CDLL, scratch: Path) -> bool:  # pragma: no cover
    """Landlock: whether the kernel has it and took the rules."""
    version = libc.syscall(CREATE_RULESET, None, 0, VERSION_ASKED)
    if version < 1:
        return False
    changes = WRITE_FILE | REMOVES_AND_MAKES
    changes |= REFER if version >= 2 else 0
    changes |= TRUNCATE if version >= 3 else 0
    # Each later version knows one more field; a kernel refuses what it does not know.
    reads = READ_FILE | READ_FOLDER
    fields = [EXECUTE | reads | changes]
    fields += [TCP] if version >= 4 else []
    fields += [SCOPES] if version >= 6 else []
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = libc.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        _allow(libc, rules, scratch, reads | changes)
        for device in [Path(os.devnull), *Path("/dev").glob("nvidia*")]:
            _allow(libc, rules, device, READ_FILE | WRITE_FILE)
        for place in _libraries():
            _allow(libc, rules, place, reads if place.is_dir() else READ_FILE)
        # Python lists the folder that a package lies in, which may be a project with its data.
        _allow(libc, rules, PACKAGE.parent, READ_FOLDER)
        return bool(libc.syscall(RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _libraries() -> list[Path]:  # pragma: no cover
    """The places that are read while Python and its packages work."""
    found = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    checkout = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").exists() else None
    imported = [place for place in sys.path if place and Path(place) != checkout]
    installed = [sys.prefix, sys.base_prefix, sys.exec_prefix]
    places = [*READ, *installed, *imported, *filter(None, found)]
    return [PACKAGE, *(Path(place) for place in dict.fromkeys(places) if Path(place).exists())]


def _allow(libc: ctypes.CDLL, rules: int, place: Path, rights: int) -> None:  # pragma: no cover
    try:
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, so nothing is allowed there
        return
    try:
        libc.syscall(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


def _close_calls(libc: ctypes.CDLL) -> bool:  # pragma: no cover
    """Seccomp: whether the kernel has it and took the filter."""
    processor = PROCESSORS.get(platform.machine())
    if processor is None:
        return False
    program = _filter(processor)
    kept = ctypes.create_string_buffer(program, len(program))
    length = len(program) // 8
    described = struct.pack("HxxxxxxP" if struct.calcsize("P") == 8 else "HxxI", length,
                            ctypes.addressof(kept))  # fmt: skip
    return bool(libc.prctl(SET_SECCOMP, FILTER, ctypes.c_char_p(described), 0, 0) == 0)


def _filter(processor: Processor) -> bytes:  # pragma: no cover
    """Berkeley Packet Filter: each instruction is code, steps if true, steps if false, value."""
    numbers = sorted(processor.refused.values())
    steps = [
        (LOAD, 0, 0, 4),  # the architecture that the call came by
        (EQUAL, 1, 0, processor.architecture),
        (ANSWER, 0, 0, KILL),
        (LOAD, 0, 0, 0),  # the call's number
        (AT_LEAST, len(numbers) + 1, 0, FOREIGN_CALLS),
        *((EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (ANSWER, 0, 0, ALLOW),
        (ANSWER, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)

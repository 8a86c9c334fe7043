"""Give up, for the rest of this process, everything that decoding one open file does not need.

Afterwards the process can use the descriptors it has, get memory up to a bound, start threads and
end. It cannot open, create or remove a file, make or receive a connection, start a program, signal
another process or undo any of this, whoever runs it, root included.
Limits by setrlimit(2) hold everywhere. The list of system calls, by seccomp(2), needs Linux on
x86-64 or ARM64; elsewhere, the limits alone keep it from opening anything.
"""

import ctypes
import mmap
import os
import platform
import resource
import signal
import struct
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 15, 22, 38
_SECCOMP_MODE_FILTER = 2

_STACK = 1 << 20
_STACK_ATTRIBUTES = 64  # bytes, or a few less

# Classic BPF over struct seccomp_data: number at 0, architecture at 4, arguments from 16.
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000

# What the C library, FFmpeg's threads and Python's use once everything is loaded.
_CALLS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            **{"read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9},
            **{"mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14},
            **{"rt_sigreturn": 15, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20},
            **{"sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39},
            **{"sendto": 44, "recvfrom": 45, "shutdown": 48, "clone": 56, "exit": 60},
            **{"gettimeofday": 96, "getrusage": 98, "sigaltstack": 131, "prctl": 157},
            **{"gettid": 186, "futex": 202, "sched_getaffinity": 204, "restart_syscall": 219},
            **{"clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230},
            **{"exit_group": 231, "tgkill": 234, "set_robust_list": 273, "getrandom": 318},
            **{"membarrier": 324, "rseq": 334, "clone3": 435},
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            **{"read": 63, "write": 64, "close": 57, "fstat": 80, "ppoll": 73, "lseek": 62},
            **{"mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "rt_sigaction": 134},
            **{"rt_sigprocmask": 135, "rt_sigreturn": 139, "pread64": 67, "pwrite64": 68},
            **{"readv": 65, "writev": 66, "sched_yield": 124, "mremap": 216, "madvise": 233},
            **{"nanosleep": 101, "getpid": 172, "sendto": 206, "recvfrom": 207, "shutdown": 210},
            **{"clone": 220, "exit": 93, "gettimeofday": 169, "getrusage": 165},
            **{"sigaltstack": 132, "prctl": 167, "gettid": 178, "futex": 98},
            **{"sched_getaffinity": 123, "restart_syscall": 128, "clock_gettime": 113},
            **{"clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "tgkill": 131},
            **{"set_robust_list": 99, "getrandom": 278, "membarrier": 283, "rseq": 293},
            **{"clone3": 435},
        },
    ),
}


def enter(*, memory: int, cpu_s: int, file_bytes: int) -> None:
    """Bind this process, for good; all its threads, as long as this one is the only one yet.

    memory: bytes of address space that it may take beyond what it has, which it then uses almost
    all, so that they bound what is resident; cpu_s: processor seconds from now on; file_bytes:
    largest size of any file that is written.
    """
    space = _address_space() + memory
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s += int(used.ru_utime + used.ru_stime) + 1
    for what, limit, hard in (
        (resource.RLIMIT_AS, space, space),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),  # SIGXCPU, which says what it is for, then SIGKILL
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 0, 0),  # no descriptor more: those that are open stay open
    ):
        _lower(what, limit, hard)
    if platform.system() == "Linux":
        libc = ctypes.CDLL(None, use_errno=True)
        _shrink_stacks(libc)
        _prctl(libc, _PR_SET_DUMPABLE, 0)
        _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
        _filter_calls(libc)


def die_with_parent() -> None:
    """Have this process, a copy just made, killed when the one that made it ends, however."""
    if platform.system() == "Linux":
        _prctl(ctypes.CDLL(None, use_errno=True), _PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _address_space() -> int:
    """Bytes; most of them are libraries of which little is ever read."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


def _shrink_stacks(libc: ctypes.CDLL) -> None:
    """Of the threads to come: eight megabytes each, as usual, would count and never be used. C
    libraries other than GNU's give less by themselves."""
    if hasattr(libc, "pthread_setattr_default_np"):
        attributes = ctypes.create_string_buffer(_STACK_ATTRIBUTES)
        libc.pthread_attr_init(attributes)
        libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK))
        libc.pthread_setattr_default_np(attributes)


def _lower(what: int, limit: int, hard: int) -> None:
    most = resource.getrlimit(what)[1]
    if most != resource.RLIM_INFINITY:
        limit, hard = min(limit, most), min(hard, most)
    resource.setrlimit(what, (limit, hard))


def _filter_calls(libc: ctypes.CDLL) -> None:
    if platform.machine() not in _CALLS:
        return
    program = _program(*_CALLS[platform.machine()])
    instructions = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    described = Program(len(program) // 8, ctypes.addressof(instructions))
    _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(described))


def _program(architecture: int, calls: dict[str, int]) -> bytes:
    """What is not listed fails with EPERM, which the C library takes as it comes."""
    refuse = _RETURN, 0, 0, _REFUSE | _EPERM
    allow = _RETURN, 0, 0, _ALLOW
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    conditions = {
        "clone": (_ANY_BIT, _CLONE_THREAD),  # threads, no processes
        "prctl": (_EQUAL, _PR_SET_NAME),
        "tgkill": (_EQUAL, os.getpid()),
    }
    for name, number in calls.items():
        if name == "clone3":  # its flags cannot be seen here; without it, clone is used
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | _ENOSYS)]
        elif name in conditions:
            test, value = conditions[name]
            lines += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _FIRST_ARGUMENT),
                (test, 0, 1, value),
                allow,
                refuse,
            ]
        else:
            lines += [(_EQUAL, 0, 1, number), allow]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, refuse])


def _prctl(libc: ctypes.CDLL, option: int, *arguments: object) -> None:
    """Kernels that lack an option, as some sandboxes' do, are left with the other limits."""
    longs = (ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments)
    padding = (ctypes.c_ulong(0),) * (4 - len(arguments))
    libc.prctl(ctypes.c_int(option), *longs, *padding)

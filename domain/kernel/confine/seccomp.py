"""Filters of system calls. `apply`: code of strangers runs behind it, and what is not on its list is refused.
`renounce`: the platform's own code gives up what a reader of files never needs.

A list of what an interpreter needs on one processor after another, written as BPF here: the kernel's own format is six
lines of code, and the libraries that would write it want a C library that is not on every machine. No socket leaves the
process, no other process is made, watched or waited for, nothing is mounted, traced, loaded or put into memory that the
limits do not count. Refused calls answer EPERM (`clone3`: ENOSYS, so that threads are made with `clone`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct
import sys

from domain.kernel.confine import syscalls

_X86 = {
    "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18, "preadv": 295, "pwritev": 296,
    "preadv2": 327, "pwritev2": 328, "open": 2, "openat": 257, "openat2": 437, "close": 3, "close_range": 436,
    "lseek": 8, "stat": 4, "fstat": 5, "lstat": 6, "newfstatat": 262, "statx": 332, "statfs": 137, "fstatfs": 138,
    "access": 21, "faccessat": 269, "faccessat2": 439, "dup": 32, "dup2": 33, "dup3": 292, "pipe": 22, "pipe2": 293,
    "fcntl": 72, "ftruncate": 77, "truncate": 76, "fallocate": 285, "fsync": 74, "fdatasync": 75, "flock": 73,
    "sendfile": 40, "copy_file_range": 326, "getdents": 78, "getdents64": 217, "getcwd": 79, "chdir": 80, "fchdir": 81,
    "mkdir": 83, "mkdirat": 258, "rmdir": 84, "rename": 82, "renameat": 264, "renameat2": 316, "unlink": 87,
    "unlinkat": 263, "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "readlink": 89, "readlinkat": 267,
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "utime": 132, "utimes": 235, "utimensat": 280,
    "futimesat": 261, "umask": 95, "getxattr": 191, "lgetxattr": 192, "fgetxattr": 193, "listxattr": 194,
    "llistxattr": 195, "flistxattr": 196, "fadvise64": 221, "mmap": 9, "munmap": 11, "mremap": 25, "mprotect": 10,
    "madvise": 28, "msync": 26, "mincore": 27, "brk": 12, "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270,
    "epoll_create": 213, "epoll_create1": 291, "epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281,
    "epoll_pwait2": 441, "eventfd": 284, "eventfd2": 290, "timerfd_create": 283, "timerfd_settime": 286,
    "timerfd_gettime": 287, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "rt_sigpending": 127,
    "rt_sigsuspend": 130, "rt_sigtimedwait": 128, "sigaltstack": 131, "restart_syscall": 219, "pause": 34, "alarm": 37,
    "setitimer": 38, "getitimer": 36, "timer_create": 222, "timer_settime": 223, "timer_gettime": 224,
    "timer_getoverrun": 225, "timer_delete": 226, "kill": 62, "tkill": 200, "tgkill": 234, "wait4": 61, "waitid": 247,
    "nanosleep": 35, "clock_nanosleep": 230, "clock_gettime": 228, "clock_getres": 229, "gettimeofday": 96, "time": 201,
    "times": 100, "futex": 202, "futex_waitv": 449, "set_robust_list": 273, "get_robust_list": 274,
    "set_tid_address": 218, "rseq": 334, "membarrier": 324, "sched_yield": 24, "sched_getaffinity": 204,
    "sched_setaffinity": 203, "sched_getparam": 143, "sched_getscheduler": 145, "sched_get_priority_max": 146,
    "sched_get_priority_min": 147, "getcpu": 309, "arch_prctl": 158, "getpid": 39, "gettid": 186, "getppid": 110,
    "getuid": 102, "geteuid": 107, "getgid": 104, "getegid": 108, "getresuid": 118, "getresgid": 120, "getgroups": 115,
    "getpgrp": 111, "getpgid": 121, "getsid": 124, "getrlimit": 97, "setrlimit": 160, "getrusage": 98,
    "getpriority": 140, "sysinfo": 99, "uname": 63, "getrandom": 318, "sendto": 44, "recvfrom": 45, "shutdown": 48,
    "getsockname": 51, "getpeername": 52, "getsockopt": 55, "setsockopt": 54, "execve": 59, "exit": 60,
    "exit_group": 231,
}  # fmt: skip
_ARM = {
    "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "preadv": 69, "pwritev": 70,
    "preadv2": 286, "pwritev2": 287, "openat": 56, "openat2": 437, "close": 57, "close_range": 436, "lseek": 62,
    "fstat": 80, "newfstatat": 79, "statx": 291, "statfs": 43, "fstatfs": 44, "faccessat": 48, "faccessat2": 439,
    "dup": 23, "dup3": 24, "pipe2": 59, "fcntl": 25, "ftruncate": 46, "truncate": 45, "fallocate": 47, "fsync": 82,
    "fdatasync": 83, "flock": 32, "sendfile": 71, "copy_file_range": 285, "getdents64": 61, "getcwd": 17, "chdir": 49,
    "fchdir": 50, "mkdirat": 34, "renameat": 38, "renameat2": 276, "unlinkat": 35, "linkat": 37, "symlinkat": 36,
    "readlinkat": 78, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "utimensat": 88, "umask": 166, "getxattr": 8,
    "lgetxattr": 9, "fgetxattr": 10, "listxattr": 11, "llistxattr": 12, "flistxattr": 13, "fadvise64": 223, "mmap": 222,
    "munmap": 215, "mremap": 216, "mprotect": 226, "madvise": 233, "msync": 227, "mincore": 232, "brk": 214,
    "ppoll": 73, "pselect6": 72, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "epoll_pwait2": 441,
    "eventfd2": 19, "timerfd_create": 85, "timerfd_settime": 86, "timerfd_gettime": 87, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "rt_sigpending": 136, "rt_sigsuspend": 133, "rt_sigtimedwait": 137,
    "sigaltstack": 132, "restart_syscall": 128, "setitimer": 103, "getitimer": 102, "timer_create": 107,
    "timer_settime": 110, "timer_gettime": 108, "timer_getoverrun": 109, "timer_delete": 111, "kill": 129, "tkill": 130,
    "tgkill": 131, "wait4": 260, "waitid": 95, "nanosleep": 101, "clock_nanosleep": 115, "clock_gettime": 113,
    "clock_getres": 114, "gettimeofday": 169, "times": 153, "futex": 98, "futex_waitv": 449, "set_robust_list": 99,
    "get_robust_list": 100, "set_tid_address": 96, "rseq": 293, "membarrier": 283, "sched_yield": 124,
    "sched_getaffinity": 123, "sched_setaffinity": 122, "sched_getparam": 121, "sched_getscheduler": 120,
    "sched_get_priority_max": 125, "sched_get_priority_min": 126, "getcpu": 168, "getpid": 172, "gettid": 178,
    "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "getresuid": 148, "getresgid": 150,
    "getgroups": 158, "getpgid": 155, "getsid": 156, "getrlimit": 163, "setrlimit": 164, "getrusage": 165,
    "getpriority": 141, "sysinfo": 179, "uname": 160, "getrandom": 278, "sendto": 206, "recvfrom": 207, "shutdown": 210,
    "getsockname": 204, "getpeername": 205, "getsockopt": 209, "setsockopt": 208, "execve": 221, "exit": 93,
    "exit_group": 94,
}  # fmt: skip
_LOOKED_INTO = {
    "x86_64": {"clone": 56, "clone3": 435, "prlimit64": 302, "prctl": 157, "ioctl": 16, "socketpair": 53},
    "aarch64": {"clone": 220, "clone3": 435, "prlimit64": 261, "prctl": 167, "ioctl": 29, "socketpair": 199},
}
_ALLOWED = {"x86_64": _X86, "aarch64": _ARM}
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

_RENOUNCED = {
    # socket, connect, accept, bind, listen, sendmsg, sendmmsg, accept4; execve, execveat; fork, vfork; kill, tkill,
    # rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, pidfd_open, pidfd_getfd; ptrace, process_vm_readv and
    # _writev; mount, umount2, unshare, setns, pivot_root, chroot; add_key, request_key, keyctl; bpf, perf_event_open,
    # userfaultfd, io_uring_setup; init_module, finit_module, kexec_load, reboot; shmget, shmat, msgget, semget
    "x86_64": (
        41, 42, 43, 49, 50, 46, 307, 288, 59, 322, 57, 58, 62, 200, 129, 297, 424, 434, 438, 101, 310, 311, 165, 166,
        272, 308, 155, 161, 248, 249, 250, 321, 298, 323, 425, 175, 313, 246, 169, 29, 30, 68, 64,
    ),
    "aarch64": (
        198, 203, 202, 200, 201, 211, 269, 242, 221, 281, 129, 130, 138, 240, 424, 434, 438, 117, 270, 271, 40, 39, 97,
        268, 41, 51, 217, 218, 219, 280, 241, 282, 425, 105, 273, 104, 142, 194, 196, 186, 190,
    ),
}  # fmt: skip

_PR_SET_NAME, _PR_GET_NAME = 15, 16
_AF_UNIX = 1
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
_THREAD, _NAMESPACES = 0x0001_0000, 0x7E02_0000

_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_NUMBER, _ARCH = 0, 4
_ALLOW, _KILL = 0x7FFF_0000, 0x8000_0000
_EPERM, _ENOSYS = 0x0005_0000 | errno.EPERM, 0x0005_0000 | errno.ENOSYS


def known() -> bool:
    """Whether the filter can be written for this processor."""
    return syscalls.machine() in _ALLOWED


def program(machine: str) -> bytes:
    """The filter for a processor, in the kernel's format."""
    look = _LOOKED_INTO[machine]
    lines = [
        _line(_LOAD, _ARCH),
        _line(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
    ]
    for number in _ALLOWED[machine].values():
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ALLOW)]
    lines += _one_of(look["ioctl"], 1, _IOCTLS)
    lines += _one_of(look["prctl"], 0, (_PR_SET_NAME, _PR_GET_NAME))
    lines += _one_of(look["prlimit64"], 0, (0,))  # its own limits
    lines += _one_of(look["socketpair"], 0, (_AF_UNIX,))
    lines += _threads_alone(machine)
    lines.append(_line(_RETURN, _EPERM))
    return b"".join(lines)


def _threads_alone(machine: str) -> list[bytes]:
    """Threads may be made, processes not. What `clone3` is asked for lies in memory, where no filter sees it."""
    look = _LOOKED_INTO[machine]
    refused = [_line(_EQUAL, look["clone3"], 0, 1), _line(_RETURN, _ENOSYS)]
    return refused + _one_of(look["clone"], 0, (_THREAD,), mask=_THREAD | _NAMESPACES)


def apply() -> None:
    """Put the calling process and all that it starts behind the filter, for good. Raises `syscalls.Refusal`."""
    _filter(program(syscalls.machine()))


def renounce() -> None:
    """Have the calling process open no connection and start, signal or trace no other, for good; what it has open it
    may go on using. Where the kernel knows no such filter nothing is given up: the process runs trusted code."""
    machine = syscalls.machine()
    if machine not in _RENOUNCED or sys.platform != "linux":
        return
    lines = [_line(_LOAD, _ARCH), _line(_EQUAL, _AUDIT_ARCH[machine], 1, 0), _line(_RETURN, _KILL)]
    lines.append(_line(_LOAD, _NUMBER))
    for number in _RENOUNCED[machine]:
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _EPERM)]
    lines += _threads_alone(machine)
    lines.append(_line(_RETURN, _ALLOW))
    with contextlib.suppress(syscalls.Refusal):
        _filter(b"".join(lines))


def _filter(content: bytes) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1, what="promise to gain no privileges")
    held = ctypes.create_string_buffer(content, len(content))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(content) // 8, ctypes.addressof(held)))
    syscalls.prctl(22, 2, ctypes.addressof(head), what="filter system calls")  # PR_SET_SECCOMP, mode filter


def _line(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)


def _one_of(number: int, argument: int, values: tuple[int, ...], mask: int | None = None) -> list[bytes]:
    """Allow call `number` when its argument's lower half (masked) is one of `values`. All of these are 32-bit arguments
    to the kernel."""
    body = [_line(_LOAD, 16 + 8 * argument)]
    if mask is not None:
        body.append(_line(_AND, mask))
    for value in values:
        body += [_line(_EQUAL, value, 0, 1), _line(_RETURN, _ALLOW)]
    body.append(_line(_RETURN, _EPERM))
    return [_line(_EQUAL, number, 0, len(body)), *body]

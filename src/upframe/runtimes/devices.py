"""What this machine gives to this process: memory, cores, accelerators.

Containers are respected: control groups (versions 1 and 2) limit memory and cores
below what the machine has. ``root`` arguments name the folder below which ``proc``
and ``sys`` lie.
"""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

from upframe.errors import UsageError

_ROOT = Path("/")
_FALLBACK = 2 * 2**30
"""Assumed where an operating system does not say what is free."""


def available_memory(root: Path = _ROOT) -> int:
    """Bytes that this process may still take without swapping or being killed.

    The machine's available memory or what control groups leave, whichever is less. On
    systems without ``/proc`` what the system says, or else half of what is built in.
    """
    free = [_system_memory(root)]
    for folder in _group_folders(root, "memory"):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None:
            # file pages that nobody uses count as used, but are given back on demand
            cache = _stat(folder / "memory.stat", "total_inactive_file")
            if cache is None:
                cache = _stat(folder / "memory.stat", "inactive_file")
            free.append(max(0, limit - (used or 0) + (cache or 0)))
    return min(free)


def peak_memory() -> int:
    """Most bytes of memory that this process has held at once; 0 if unknown."""
    # getrusage counts what the parent process held before this program began
    peak = _stat(_ROOT / "proc/self/status", "VmHWM:")
    if peak is not None:
        return peak * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def usable_cores(root: Path = _ROOT) -> int:
    """Logical cores that this process may use: affinity and control group quota."""
    cores = len(_affinity())
    for folder in _group_folders(root, "cpu"):
        quota = _quota(folder)
        if quota is not None:
            cores = min(cores, max(1, math.ceil(quota)))
    return cores


def physical_cores(root: Path = _ROOT) -> int:
    """Usable cores, counting the threads of one physical core once.

    Networks keep the arithmetic units of a core busy, so that a second thread on it
    only costs.
    """
    siblings = set()
    for cpu in _affinity():
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        names = _text(topology / "thread_siblings_list")
        siblings.add(names if names is not None else f"cpu{cpu}")
    return min(len(siblings), usable_cores(root))


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime was built for CUDA."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def has_nvidia_gpu(root: Path = _ROOT) -> bool:
    """Whether an NVIDIA driver runs here, found without loading any library."""
    if sys.platform == "win32":
        return (root / "Windows/System32/nvcuda.dll").exists()
    # the second is that of Linux inside Windows
    drivers = ("proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so.1")
    return any((root / driver).exists() for driver in drivers)


def has_gpu(root: Path = _ROOT) -> bool:
    """Whether torch may find a GPU here: NVIDIA's driver or AMD's for computing."""
    return has_nvidia_gpu(root) or (root / "dev/kfd").exists()


def cuda_index(device: str) -> int | None:
    """Number of the GPU in ``cuda`` or ``cuda:1``; None for ``cpu``.

    Raises:
        UsageError: the device is of another form.
    """
    match = re.fullmatch(r"cpu|cuda(?::([0-9]{1,3}))?", device, re.ASCII)
    if match is None:
        raise UsageError(
            f"There is no device '{device}'.",
            "Write auto, cpu, cuda or cuda:1 for the second GPU.",
        )
    return None if device == "cpu" else int(match[1] or 0)


def _affinity() -> set[int]:
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _system_memory(root: Path) -> int:
    available = _stat(root / "proc/meminfo", "MemAvailable:")
    if available is not None:
        return available * 1024
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (OSError, ValueError):
        return _FALLBACK


def _windows_memory() -> int:
    if sys.platform != "win32":
        return _FALLBACK
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            ("total", ctypes.c_ulonglong),
            ("available", ctypes.c_ulonglong),
            ("rest", ctypes.c_ulonglong * 5),
        )

    status = Status(length=ctypes.sizeof(Status))
    known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available) if known else _FALLBACK


def _group_folders(root: Path, controller: str) -> list[Path]:
    """Folders of this process's control groups, from its own up to the root's.

    In a container the path in ``/proc`` may be that of the host; then only the root of
    what is mounted exists, and is the container's own group.
    """
    folders = []
    mount = root / "sys/fs/cgroup"
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        if fields[1] == "":
            base = mount
        elif controller in fields[1].split(","):
            base = mount / controller
        else:
            continue
        own = Path(fields[2].lstrip("/"))
        folders += [base / own, *(base / parent for parent in own.parents)]
    return folders


def _quota(folder: Path) -> float | None:
    """CPU time per time that a control group may use."""
    text = _text(folder / "cpu.max")
    if text is not None:
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            return int(quota) / int(period)
        return None
    limit = _number(folder / "cpu.cfs_quota_us")
    every = _number(folder / "cpu.cfs_period_us")
    return limit / every if limit and every else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _number(*paths: Path) -> int | None:
    """The number in the first of the files that exists; None for words or -1."""
    for path in paths:
        text = _text(path)
        if text is not None:
            return int(text) if text.isdecimal() else None
    return None


def _stat(path: Path, name: str) -> int | None:
    for line in (_text(path) or "").splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == name and fields[1].isdecimal():
            return int(fields[1])
    return None

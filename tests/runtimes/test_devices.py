import os
import subprocess
import sys

import pytest

from upframe.errors import UsageError
from upframe.runtimes import devices

GIB = 2**30


def machine(root, files):
    """Write the files below ``root`` that a system would show."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB"}
V2 = {"proc/self/cgroup": "0::/a/b"}
V1 = {"proc/self/cgroup": "9:cpu,cpuacct:/c\n4:memory:/c\n0::/"}


def test_this_machine_has_memory_and_cores():
    assert 2**26 < devices.available_memory() < 2**50
    assert 1 <= devices.physical_cores() <= devices.usable_cores() <= os.cpu_count()


@pytest.mark.skipif(sys.platform == "win32", reason="unknown on Windows")
def test_peak_memory_follows_what_was_held():
    code = (
        "from upframe.runtimes.devices import peak_memory\n"
        "before = peak_memory()\n"
        "bytearray(b'x' * 2**26)\n"
        "assert before > 2**22\n"
        "assert before + 2**25 < peak_memory() < before + 2**28\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_container_the_machine_counts(tmp_path):
    assert devices.available_memory(machine(tmp_path, MEMINFO)) == 8 * GIB


@pytest.mark.parametrize("folder", ["a/b/", "a/", ""])
def test_version_2_groups_limit_memory_at_every_level(tmp_path, folder):
    base = f"sys/fs/cgroup/{folder}"
    group = {
        f"{base}memory.max": str(2 * GIB),
        f"{base}memory.current": str(3 * GIB // 2),
        f"{base}memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7",
    }
    assert devices.available_memory(machine(tmp_path, MEMINFO | V2 | group)) == GIB


def test_version_1_groups_limit_memory(tmp_path):
    group = {
        "sys/fs/cgroup/memory/c/memory.limit_in_bytes": str(2 * GIB),
        "sys/fs/cgroup/memory/c/memory.usage_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/c/memory.stat": "inactive_file 1\ntotal_inactive_file 9",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert devices.available_memory(machine(tmp_path, MEMINFO | V1 | group)) == GIB + 9


def test_groups_without_limits_change_nothing(tmp_path):
    group = {
        "sys/fs/cgroup/memory.max": "max",
        "sys/fs/cgroup/memory.current": "5",
        "sys/fs/cgroup/cpu.max": "max 100000",
    }
    root = machine(tmp_path, MEMINFO | V2 | group)
    assert devices.available_memory(root) == 8 * GIB
    assert devices.usable_cores(root) == devices.usable_cores(tmp_path / "none")


def test_a_group_over_its_limit_leaves_nothing(tmp_path):
    group = {"sys/fs/cgroup/memory.max": "10", "sys/fs/cgroup/memory.current": "20"}
    assert devices.available_memory(machine(tmp_path, MEMINFO | V2 | group)) == 0


@pytest.mark.parametrize(
    "group",
    [
        V2 | {"sys/fs/cgroup/a/cpu.max": "50000 100000"},
        V1
        | {
            "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000",
        },
    ],
)
def test_quotas_limit_cores(tmp_path, group):
    assert devices.usable_cores(machine(tmp_path, group)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="affinity and topology of Linux")
def test_threads_of_one_core_count_once(tmp_path):
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cpus = os.sched_getaffinity(0)
    root = machine(tmp_path, {topology.format(cpu): "0-99" for cpu in cpus})
    assert devices.physical_cores(root) == 1


def test_a_driver_is_told_from_its_files(tmp_path):
    assert not devices.has_nvidia_gpu(tmp_path)
    name = "proc/driver/nvidia/version"
    if sys.platform == "win32":
        name = "Windows/System32/nvcuda.dll"
    assert devices.has_nvidia_gpu(machine(tmp_path, {name: "NVRM version"}))


@pytest.mark.parametrize(
    ("text", "index"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)]
)
def test_devices_are_read(text, index):
    assert devices.cuda_index(text) == index


@pytest.mark.parametrize(
    "text", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "mps"]
)
def test_texts_that_are_no_device_are_refused(text):
    with pytest.raises(UsageError) as caught:
        devices.cuda_index(text)
    assert caught.value.advice

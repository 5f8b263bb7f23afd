"""Memory that is left for a run, as a made-up system tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.runtime.free_memory import Memory, host_memory, private_bytes

GB = 10**9


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A machine with 16 GB available, of which this process holds 1 GB besides."""
    write(tmp_path / "proc/meminfo", f"MemTotal: {30 * GB // 1024} kB\nMemAvailable: {16 * GB // 1024} kB\n")
    write(tmp_path / "proc/self/status", f"VmRSS: {GB // 1024} kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def group(folder: Path, limit: str, used: int, droppable: int, version: int = 2) -> None:
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    write(folder / names[0], limit)
    write(folder / names[1], str(used))
    write(folder / "memory.stat", f"anon 5\n{names[2]} {droppable}\n")


def test_without_a_limit_it_is_what_others_leave(system, monkeypatch):
    assert host_memory(system).bytes == pytest.approx(17 * GB, rel=1e-6)
    assert host_memory(system).bound == "free RAM"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert host_memory(system).bytes == pytest.approx(5 * GB, rel=1e-6)


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_control_group_bounds_it(system, version):
    base = system / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    write(system / "proc/self/cgroup", "4:cpu,memory:/job/step\n2:pids:/other\n" if version == 1 else "0::/job/step\n")
    group(base / "job/step", "max" if version == 2 else str(2**63 - 4096), 3 * GB, 0, version)
    assert host_memory(system).bound == "free RAM"
    group(base / "job", str(8 * GB), 6 * GB, 2 * GB, version)  # 4 GB left, and what this process holds
    assert host_memory(system) == Memory(pytest.approx(5 * GB, rel=1e-6), "limit of the control group")
    group(base / "job/step", str(2 * GB), GB // 2, 0, version)
    assert host_memory(system).bytes == 2 * GB  # never more than the limit itself


def test_in_a_container_the_own_group_is_the_base(system):
    write(system / "proc/self/cgroup", "0::/docker/0123abc\n")
    group(system / "sys/fs/cgroup", str(4 * GB), 2 * GB, 0)
    assert host_memory(system).bytes == pytest.approx(3 * GB, rel=1e-6)


def test_what_does_not_fit_is_one_sentence():
    there = Memory(2 * GB, "free RAM")
    there.require(2 * GB, "A step", "lower --batch")
    with pytest.raises(ValueError) as error:
        there.require(2 * GB + 10**7, "A step", "lower --batch")
    assert str(error.value) == ("A step needs 2.01 GB of memory, and 2.00 GB are available (free RAM): lower --batch.")


def test_this_machine_tells():
    there = host_memory()
    assert 10**8 < there.bytes < 10**14 and there.bound
    assert private_bytes(2**22 + 1) == 0  # no such process

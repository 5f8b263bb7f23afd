"""Memory that is left for a run: of the machine as psutil sees it, and of control groups, which it does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from train.runtime import free_memory
from train.runtime.free_memory import Memory, group_limits, host_memory

GB = 10**9


@pytest.mark.parametrize(
    ("processes", "limits", "expected"),
    [
        ("1", [], Memory(17 * GB, "free RAM")),
        ("4", [], Memory(5 * GB, "free RAM")),
        ("1", [20 * GB, 8 * GB], Memory(8 * GB, "limit of the control group")),
        ("4", [8 * GB], Memory(2 * GB, "limit of the control group")),
    ],
)
def test_processes_share_what_is_free_below_the_tightest_limit(monkeypatch, processes, limits, expected):
    """16 GB are available, of which this process holds 1 GB besides."""
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GB))
    machine = SimpleNamespace(Process=lambda: process, virtual_memory=lambda: SimpleNamespace(available=16 * GB))
    monkeypatch.setattr(free_memory, "psutil", machine)
    monkeypatch.setattr(free_memory, "group_limits", lambda: iter(limits))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert host_memory() == expected


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/job/step\n", {"job/memory.max": "8", "job/step/memory.max": "max"}),
        ("2:pids:/a\n4:cpu,memory:/job\n", {"memory/job/memory.limit_in_bytes": "8"}),
        ("0::/docker/0123abc\n", {"memory.max": "8"}),  # in a container: the path is that of the host
    ],
)
def test_limits_are_those_of_all_groups_around_this_process(tmp_path, own, files):
    assert list(group_limits(tmp_path)) == []  # not Linux
    for name, text in {"proc/self/cgroup": own, **{f"sys/fs/cgroup/{n}": t for n, t in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(group_limits(Path(tmp_path))) == [8]


def test_what_does_not_fit_names_both_amounts_and_the_way_out():
    there = Memory(2 * GB, "free RAM")
    there.require(2 * GB, "A step", "lower --batch")
    with pytest.raises(ValueError, match=r"A step .*2\.01 GB.*2\.00 GB.*free RAM.*lower --batch"):
        there.require(2 * GB + 10**7, "A step", "lower --batch")


def test_this_machine_has_memory():
    assert 10**8 < host_memory().bytes < 10**14

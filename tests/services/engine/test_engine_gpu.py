"""What an engine may be pinned to; the driver itself is asked where there is one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.engine.gpu import check_gpus, check_memory, gpu_count, gpu_facts, visible_devices
from services.engine.port import EngineOptionError

_GIB = 2**30
_TWO = [SimpleNamespace(total=100 * _GIB, free=99 * _GIB), SimpleNamespace(total=100 * _GIB, free=40 * _GIB)]


@pytest.mark.parametrize(
    ("gpus", "share", "message"),
    [
        ((0, 1, 2), None, "gpus must name at most 2 GPUs, which this machine has, got 3"),
        ((2,), None, r"gpus must be in 0\.\.1, got 2"),
        ((0, 5), None, r"gpus must be in 0\.\.1, got 5"),
        ((1,), 0.5, r"GPU 1: 0\.5 of 100\.0 GiB is 50\.0 GiB, got 40\.0 GiB free"),
        ((0, 1), 0.9, "GPU 1: 0.9"),
    ],
)
def test_a_pinning_that_cannot_work_is_refused_with_value_and_bound(
    gpus: tuple[int, ...], share: float | None, message: str
) -> None:
    with pytest.raises(EngineOptionError, match=message):
        check_memory(gpus, share, _TWO)


@pytest.mark.parametrize(
    ("gpus", "share"), [((0,), None), ((1, 0), None), ((0,), 0.9), ((1,), 0.4), ((0, 1), 0.4), ((), 1.0)]
)
def test_a_pinning_that_can_work_passes(gpus: tuple[int, ...], share: float | None) -> None:
    check_memory(gpus, share, _TWO)


def test_without_a_pinning_no_driver_is_needed() -> None:
    check_gpus((), None)
    check_gpus((), 0.5)
    assert gpu_facts(()) == []


@pytest.mark.skipif(gpu_count() is not None, reason="there is a driver")
def test_a_pinning_without_a_driver_says_what_to_install() -> None:
    with pytest.raises(EngineOptionError, match=r"gpus names 0, 1, but NVIDIA's driver cannot be asked: install"):
        check_gpus((0, 1), None)
    assert gpu_facts((0, 1)) == []


@pytest.mark.gpu
def test_the_driver_knows_name_memory_and_links_of_the_gpus() -> None:
    count = gpu_count()
    assert count
    facts = gpu_facts(range(count))
    assert [gpu.index for gpu in facts] == list(range(count))
    for gpu in facts:
        assert gpu.name and gpu.uuid.startswith("GPU-")
        assert gpu.memory_bytes >= gpu.memory_used_bytes
        assert 0 <= gpu.utilisation <= 1
        assert len(gpu.links) == count - 1 and all(link.partition(": ")[2] for link in gpu.links)
    with pytest.raises(EngineOptionError, match="gpus must"):
        check_gpus((count,), None)


@pytest.mark.parametrize(
    ("gpus", "given", "visible"),
    [((1, 2), None, "1,2"), ((0, 1), "0,1", "0,1"), ((5,), "0, 5", "5"), ((1, 0), "0,1,2", "1,0")],
)
def test_an_engine_sees_its_own_gpus_alone_counted_as_the_driver_counts(
    gpus: tuple[int, ...], given: str | None, visible: str
) -> None:
    assert visible_devices(gpus, given) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}


@pytest.mark.parametrize(
    ("gpus", "given", "named"),
    [((1,), "2,3", 1), ((2,), "0,1", 2), ((0,), "GPU-0a1b", 0), ((0, 1), "1", 0), ((0,), "", 0), ((1,), "0,-1,1", 1)],
)
def test_a_gpu_that_the_operator_has_hidden_is_refused(gpus: tuple[int, ...], given: str, named: int) -> None:
    with pytest.raises(EngineOptionError, match=rf"CUDA_VISIBLE_DEVICES={given} lets be seen .*, got {named}: unset"):
        visible_devices(gpus, given)

"""A GPU whose memory does not suffice is said so, with what would take less."""

import pytest
import torch

from parrot_core.errors import GpuFullError
from parrot_core.machine import gpu_memory


@pytest.fixture
def small_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (300_000_000, 24_000_000_000))


def test_a_full_gpu_is_an_error_with_a_hint(small_gpu):
    said = r"the GPU has 24 GB, 0\.3 of them free"
    with pytest.raises(GpuFullError, match=said) as caught, gpu_memory("Take less."):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert caught.value.hint == "Take less."
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_the_gpu_that_is_full_is_the_one_that_is_told_of(monkeypatch):
    rooms = {None: (0, 8e9), 1: (1e9, 80e9)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", rooms.get)
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 74.5 GiB"
    with pytest.raises(GpuFullError, match=r"80 GB, 1\.0 of them"), gpu_memory("Take less."):
        raise torch.OutOfMemoryError(said)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), gpu_memory("Take less."):
        raise RuntimeError("shapes differ")


@pytest.mark.gpu
def test_a_real_gpu_says_so():
    with pytest.raises(GpuFullError, match=r"the GPU has \d+ GB"), gpu_memory("Take less."):
        torch.empty(1 << 44, device="cuda")

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot_core.errors import UsageError
from parrot_core.recipe import share_batch


def test_the_papers_batches_fall_to_sixteen_gpus_as_table_13_says():
    assert share_batch(256, processes=16, at_most=16).device_batch_size == 16
    assert share_batch(128, processes=16, at_most=8).device_batch_size == 8
    assert share_batch(128, processes=16, at_most=8).accumulation == 1


def test_fewer_devices_accumulate():
    share = share_batch(128, processes=1, at_most=8)
    assert (share.device_batch_size, share.accumulation) == (8, 16)


@settings(deadline=None)  # the first call on a busy machine is slow
@given(st.integers(1, 64), st.integers(1, 16), st.integers(1, 32))
def test_shares_make_the_global_batch_and_keep_to_the_limit(per_process, processes, at_most):
    share = share_batch(per_process * processes, processes=processes, at_most=at_most)
    assert share.device_batch_size * share.accumulation == per_process
    assert share.device_batch_size <= at_most


def test_a_batch_that_does_not_divide_names_the_nearest_that_do():
    with pytest.raises(UsageError) as caught:
        share_batch(128, processes=12, at_most=8)
    assert "the nearest sizes that do are 120 and 132" in caught.value.problem
    assert "numbers of processes 8 and 16" in caught.value.problem


def test_a_batch_smaller_than_the_number_of_processes_is_refused():
    with pytest.raises(UsageError, match="nearest sizes that do are 16,"):
        share_batch(8, processes=16, at_most=8)

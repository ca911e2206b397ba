"""Loss and routing, counted by language between two lines of the log."""

import json

import pytest
import torch

from parrot_core.training.tally import Tally
from parrot_core.training.world import World

ALONE = World()


def counted(tally, *, language=0, shift=0.0):
    tally.count_input(tokens=10, samples=2)
    tally.count_output(
        loss=torch.tensor(2.0 + shift),
        labels=torch.tensor([[-100, 5, -100], [-100, 6, 7]]),
        languages=torch.tensor([language, 1]),
        token_losses=torch.tensor([1.0 + shift, 2.0, 4.0]),
        routing_weights=torch.tensor([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]),
        images=torch.tensor([1, 2]),
    )
    tally.count_step()


@pytest.fixture
def tally():
    return Tally(("en", "tr"), experts=2, device=torch.device("cpu"))


def test_loss_is_the_mean_over_a_languages_tokens_and_routing_over_its_images(tally):
    counted(tally)
    entry = tally.drain(ALONE)
    assert entry == {
        "loss": 2.0,
        "tokens": 10,
        "samples": 2,
        "loss_by_language": {"en": 1.0, "tr": 3.0},
        "routing_by_language": {"en": [0.25, 0.75], "tr": [0.75, 0.25]},
    }


def test_a_line_of_the_log_begins_anew(tally):
    counted(tally)
    tally.drain(ALONE)
    counted(tally, shift=2.0)
    counted(tally, shift=4.0)
    entry = tally.drain(ALONE)
    assert entry["loss"] == 5.0
    assert entry["loss_by_language"]["en"] == 4.0


def test_samples_of_no_stated_language_count_for_the_loss_alone(tally):
    counted(tally, language=2)
    entry = tally.drain(ALONE)
    assert entry["loss"] == 2.0
    assert set(entry["loss_by_language"]) == set(entry["routing_by_language"]) == {"tr"}


def test_what_was_counted_before_a_checkpoint_is_counted_on_after_it(tally):
    counted(tally, shift=0.1)
    saved = json.loads(json.dumps(tally.collect(ALONE)))
    resumed = Tally(("en", "tr"), experts=2, device=torch.device("cpu"))
    resumed.restore(saved)
    for one in (tally, resumed):
        counted(one, shift=0.7)
    assert tally.drain(ALONE) == resumed.drain(ALONE)


def test_a_model_without_experts_has_no_routing():
    tally = Tally(("en",), experts=0, device=torch.device("cpu"))
    tally.count_output(
        loss=torch.tensor(1.0),
        labels=torch.tensor([[-100, 5]]),
        languages=torch.tensor([0]),
        token_losses=None,
        routing_weights=None,
        images=None,
    )
    tally.count_step()
    assert tally.drain(ALONE) == {"loss": 1.0, "tokens": 0, "samples": 0}

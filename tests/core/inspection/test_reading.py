import pytest
import torch

from parrot_core.inspection import built_in_conversations, routing_by_language
from parrot_core.inspection.reading import Viewer


@pytest.fixture
def counted(parrot, monkeypatch):
    """How many images the vision encoder has been given so far, in a list of one number."""
    seen = [0]
    look = parrot[0].vision_features

    def count(pixel_values):
        seen[0] += len(pixel_values)
        return look(pixel_values)

    monkeypatch.setattr(parrot[0], "vision_features", count)
    return seen


def test_a_picture_is_looked_at_once_however_many_languages_ask_about_it(parrot, counted, tiny):
    pictures = [tiny.image(0), tiny.image(1), tiny.image(2)]
    asked = built_in_conversations(["en", "tr", "ar"], pictures=pictures)
    routed = routing_by_language(*parrot, asked, batch_size=5)
    assert counted == [3]
    assert [len(rows) for rows in routed.values()] == [12] * 3


@pytest.mark.parametrize("remembered", [0, 1, 9])
def test_what_is_remembered_is_what_is_seen(parrot, counted, tiny, remembered):
    one, other, last = (tiny.image(number) for number in range(3))
    viewer = Viewer(*parrot, remembered=remembered)
    for images in ([one, other, one], [other, last], [last, one]):
        expected = parrot[0].vision_features(parrot[1].prepare_images(images))
        counted[0] = 0
        assert torch.allclose(viewer(images), expected, atol=1e-5)
    assert counted == [{0: 2, 1: 1, 9: 0}[remembered]]

import pytest
import torch
import torch.nn.functional as F

from parrot_core.inspection import (
    TokenWatcher,
    closeness,
    map_tokens,
    routing_by_language,
)


def watch(parrot, asked, **settings):
    watcher = TokenWatcher(parrot[0], **settings)
    routing_by_language(*parrot, asked, watchers=[watcher], batch_size=3)
    return watcher.clouds()


def direct(parrot, chats):
    """All visual tokens before and after, and the guiding words, by the model's own parts."""
    model, processor = parrot
    before, after, ids = [], [], set()
    for chat in chats:
        batch = processor.encode_conversations(
            [chat.messages], images=[chat.images], add_generation_prompt=True
        )
        with torch.no_grad():
            features = model.encode_images(**batch)
        before.append(features.visual_tokens[0])
        after.append(features.pooler_output[0])
        ids |= set(batch["input_ids"][batch["guidance_mask"].bool()].tolist())
    words = model.get_input_embeddings().weight[sorted(ids)].detach()
    return torch.cat(before), torch.cat(after), words


def test_distances_are_those_of_all_tokens(parrot, asked):
    found = watch(parrot, asked, drawn=7)["tr"]
    before, after, words = direct(parrot, asked["tr"])
    torch.testing.assert_close(found.text, words)
    for cloud, closeness_found in (
        (before, found.closeness_before),
        (after, found.closeness_after),
    ):
        cosine = F.cosine_similarity(cloud.mean(dim=0), words.mean(dim=0), dim=0)
        distance = (cloud.mean(dim=0) - words.mean(dim=0)).norm()
        assert closeness_found.centroid_cosine == pytest.approx(float(cosine), abs=1e-5)
        assert closeness_found.centroid_distance == pytest.approx(float(distance), rel=1e-5)


def test_drawn_tokens_are_the_same_ones_before_and_after(parrot, asked):
    found = watch(parrot, asked, drawn=7)["en"]
    before, after, _ = direct(parrot, asked["en"])
    assert found.before.shape == found.after.shape == (7, 32)
    pairs = torch.cat([before, after], dim=1)
    for pair in torch.cat([found.before, found.after], dim=1):
        assert (pairs - pair).abs().amax(dim=1).min() < 1e-4


def test_without_the_cls_token_only_patches_compare(tiny, asked):
    parts = tiny.parrot(cls_token_to_language_model=False)
    found = watch(parts, asked, drawn=4)["en"]
    assert found.before.shape == found.after.shape == (4, 32)
    identical = tiny.parrot(cls_token_to_language_model=False, alpha=0.0)
    same = watch(identical, asked, drawn=4)["en"]
    torch.testing.assert_close(same.before, same.after)


def test_a_visual_token_on_a_word_is_as_near_as_can_be():
    text = torch.eye(3)
    found = closeness(2 * text[:2], text, mean=text.mean(dim=0))
    assert found.nearest_cosine == pytest.approx(1)
    assert found.centroid_distance == 0
    assert found.centroid_cosine == pytest.approx(1)


def test_the_map_has_a_place_for_every_token_and_is_the_seeds(parrot, asked):
    clouds = watch(parrot, asked, drawn=10)
    maps = map_tokens(clouds, seed=0)
    for language, entry in maps.items():
        assert len(entry.before) == len(entry.after) == 10
        assert len(entry.text) == len(clouds[language].text)
    assert map_tokens(clouds, seed=0) == maps


def test_the_map_keeps_clouds_apart_that_are_apart():
    from parrot_core.inspection import TokenClouds

    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 8) * 10
    parts = [centre + torch.randn(20, 8, generator=generator) for centre in centres]
    near = closeness(parts[0], parts[2], mean=parts[0].mean(dim=0))
    cloud = TokenClouds(
        before=parts[0],
        after=parts[1],
        text=parts[2],
        closeness_before=near,
        closeness_after=near,
    )
    placed = map_tokens({"en": cloud})["en"]
    groups = [torch.tensor(rows) for rows in (placed.before, placed.after, placed.text)]
    centres = torch.stack([group.mean(dim=0) for group in groups])
    for number, group in enumerate(groups):
        assert (torch.cdist(group, centres).argmin(dim=1) == number).all()

import pytest
from transformers import (
    AutoConfig,
    CLIPVisionConfig,
    EfficientNetConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from parrot_core.errors import UsageError
from parrot_core.model import ParrotConfig

TEXT = Qwen2Config(
    vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
)


def test_the_papers_values_are_the_defaults() -> None:
    config = ParrotConfig(text_config=TEXT)
    assert (config.image_size, config.num_image_tokens) == (336, 24 * 24 + 1)
    assert config.vision_feature_layer == -2
    assert config.image_query == "cls_token"
    assert (config.num_experts, config.num_experts_per_tok) == (6, 6)
    assert config.expert_kind == "two_layer"
    assert config.reweighting == "input_plus_experts"
    assert config.projector_layers == 2
    assert config.experts_enabled
    assert config.text_guidance
    assert config.cls_token_to_language_model


def test_a_config_saved_and_loaded_by_the_auto_class_is_the_same(tmp_path) -> None:
    vision = CLIPVisionConfig(image_size=28, patch_size=14, hidden_size=8, num_attention_heads=2)
    config = ParrotConfig(
        text_config=TEXT,
        vision_config=vision,
        num_experts=4,
        num_experts_per_tok=2,
        alpha=0.25,
        expert_kind="gated",
        reweighting="experts_plus_weighted_input",
        cls_token_to_language_model=False,
        text_guidance=False,
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, ParrotConfig)
    ignored = ("transformers_version", "_name_or_path")
    before, after = (
        {key: value for key, value in c.to_dict().items() if key not in ignored}
        for c in (config, loaded)
    )
    assert after == before
    assert loaded.num_image_tokens == 4


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ({"expert_kind": "three_layer"}, "two_layer, gated"),
        ({"reweighting": "sum"}, "input_plus_experts, experts_plus_weighted_input"),
        ({"image_query": "max_patch"}, "cls_token, pooled, mean_patch"),
        ({"num_experts": 0}, "at least 1"),
        ({"projector_layers": 0}, "at least 1"),
        ({"expert_intermediate_size": -8}, "at least 1"),
        ({"alpha": float("nan")}, "finite"),
        ({"vision_feature_layer": 25}, "-25 to 24"),
        ({"vision_feature_layer": -26}, "-25 to 24"),
        ({"num_experts_per_tok": 7}, "1 to 6"),
        ({"num_experts_per_tok": 0}, "1 to 6"),
        ({"num_experts_per_tok": 2, "expert_intermediate_size": 12}, "multiples of 8"),
        ({"vision_config": {"model_type": "vit"}}, "clip_vision_model"),
        ({"text_config": {"model_type": "gpt2"}}, "qwen2"),
    ],
)
def test_a_setting_without_meaning_is_an_error_that_says_what_would_be_right(setting, hint) -> None:
    with pytest.raises(UsageError) as caught:
        ParrotConfig(**{"text_config": TEXT, **setting})
    assert hint in caught.value.hint
    value = next(iter(setting.values()))
    shown = value["model_type"] if isinstance(value, dict) else value
    assert str(shown) in caught.value.problem


def test_an_encoder_without_a_cls_token_says_what_asks_in_its_place() -> None:
    config = ParrotConfig(text_config=TEXT, vision_config=SiglipVisionConfig())
    assert config.image_query == "pooled"
    with pytest.raises(UsageError, match="cls_token"):
        ParrotConfig(text_config=TEXT, vision_config=SiglipVisionConfig(), image_query="cls_token")


def test_an_efficientnet_has_its_last_map_as_patches() -> None:
    config = ParrotConfig(text_config=TEXT, vision_config=EfficientNetConfig(image_size=128))
    assert config.vision_feature_layer == -1
    assert config.num_image_tokens == 4 * 4 + 1

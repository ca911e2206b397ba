"""The checkpoints that the paper's authors published (`model_type` "parrot_qwen2").

Their experts are gated and their reweighting is MoE(H) + w·H; both are settings of `ParrotConfig`.
What deliberately differs from the authors' code in use: earlier answers do not guide, every image
of a sample reaches the language model, and prompts of unequal length can be batched.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig, Qwen2Config

from parrot_core.model.config import ParrotConfig
from parrot_core.model.errors import CheckpointError
from parrot_core.model.sources import (
    check_safetensors,
    check_source,
    is_hub_name,
    load_part,
    reading,
)

MODEL_TYPE = "parrot_qwen2"

# Keys of the authors' config.json that are none of Qwen2's.
_OWN_KEYS = re.compile(
    r"^(mm_|moe_|use_m|num_experts$|tune_|freeze_|image_aspect|tokenizer_|unfreeze)"
)

# Keys whose absence the authors' code answers with defaults that differ from place to place.
_NEEDED_KEYS = ("hidden_size", "mm_projector_type", "mm_vision_select_feature", "use_moe")
_NEEDED_WITH_EXPERTS = (
    "moe_hidden_size",
    "moe_intermediate_size",
    "moe_weight",
    "num_experts",
    "use_moe_residual",
)

_PREFIXES = {
    "lm_head.": "language_model.lm_head.",
    "model.mm_projector.": "projector.",
    "model.vision_tower.vision_tower.vision_model.": "vision_encoder.",
    "model.": "language_model.model.",
}
# Tables that older versions of the library saved and newer ones compute.
_COMPUTED = (".position_ids", ".inv_freq")
_EXPERT = re.compile(r"^model\.moe_model\.experts\.(\d+)\.(gate|up|down)_proj\.weight$")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedCheckpoint:
    """A published checkpoint, read and translated, not yet a model.

    Attributes:
        folder: Where its files are.
        config: Its settings in Parrot's terms, but for the image token's id.
        state: Its weights under Parrot's names, in its own precision.
        dtype: That of most of them.
        vision_source: Where the vision encoder's config, and its image processor, come from.
        pad_to_square: Whether images are padded to squares.
        generation_config: Its defaults for generation.
    """

    folder: Path
    config: ParrotConfig
    state: dict[str, Tensor]
    dtype: torch.dtype
    vision_source: str
    pad_to_square: bool
    generation_config: GenerationConfig


def read_released(source: str, *, vision_source: str | None = None) -> ReleasedCheckpoint:
    """Reads a published checkpoint.

    Args:
        source: A folder or hub name.
        vision_source: Folder or hub name of the vision encoder's config; by default what the
            checkpoint's `mm_vision_tower` says, also looked for in and beside the folder.

    Raises:
        CheckpointError: if a file is missing or damaged, weights are not in safetensors, or the
            checkpoint uses a setting that was never published.
    """
    folder = _fetch(source)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wanted = [*_NEEDED_KEYS, *(_NEEDED_WITH_EXPERTS if raw.get("use_moe") else ())]
    absent = [key for key in wanted if key not in raw]
    if absent or not (vision_source or raw.get("mm_vision_tower")):
        raise CheckpointError(
            f"{folder / 'config.json'} has no {', '.join(absent) or 'mm_vision_tower'}",
            hint="Copy or download it again; its values cannot be guessed.",
        )
    vision_source = vision_source or _vision_source(raw["mm_vision_tower"], folder)
    vision_config = _vision_config(vision_source)
    with reading(folder):
        config = translate_config(raw, vision_config=vision_config)
    state = translate_weights(_read_weights(folder), experts_enabled=config.experts_enabled)
    defaults = folder / "generation_config.json"
    return ReleasedCheckpoint(
        folder=folder,
        config=config,
        state=state,
        dtype=Counter(weight.dtype for weight in state.values()).most_common(1)[0][0],
        vision_source=vision_source,
        pad_to_square=raw.get("image_aspect_ratio") == "pad",
        generation_config=GenerationConfig.from_pretrained(folder)
        if defaults.is_file()
        else GenerationConfig(eos_token_id=raw.get("eos_token_id")),
    )


def translate_config(raw: Mapping[str, Any], *, vision_config: PreTrainedConfig) -> ParrotConfig:
    """The authors' config.json in Parrot's terms.

    Args:
        raw: The file's content.
        vision_config: The vision encoder's config, which the file only points to.

    Raises:
        CheckpointError: if it has a setting that Parrot cannot reproduce.
    """
    text = {key: value for key, value in raw.items() if not _OWN_KEYS.match(key)}
    text.pop("model_type", None)
    text.pop("architectures", None)
    projector = re.fullmatch(r"mlp(\d+)x_gelu|linear", raw["mm_projector_type"])
    if projector is None or raw.get("mm_patch_merge_type", "flat") != "flat":
        raise _unsupported(
            f"mm_projector_type {raw['mm_projector_type']!r} with mm_patch_merge_type "
            f"{raw.get('mm_patch_merge_type')!r}"
        )
    experts = bool(raw["use_moe"])
    with_cls = raw["mm_vision_select_feature"] == "cls_patch"
    if experts and not with_cls:
        raise _unsupported("experts without the [CLS] token: its first patch asks in equation 2")
    if experts and raw["moe_hidden_size"] != raw["hidden_size"]:
        raise _unsupported(f"moe_hidden_size {raw['moe_hidden_size']}, not the hidden size")
    return ParrotConfig(
        vision_config=vision_config,
        text_config=Qwen2Config(**text),
        vision_feature_layer=raw.get("mm_vision_select_layer", -2),
        cls_token_to_language_model=with_cls,
        projector_layers=int(projector[1] or 1),
        experts_enabled=experts,
        num_experts=raw.get("num_experts", ParrotConfig.num_experts),
        expert_kind="gated",
        expert_intermediate_size=raw.get("moe_intermediate_size"),
        reweighting="experts_plus_weighted_input",
        alpha=raw.get("moe_weight", 0.0) if raw.get("use_moe_residual") else 0.0,
        dtype=raw.get("torch_dtype"),
    )


def translate_weights(weights: Mapping[str, Tensor], *, experts_enabled: bool) -> dict[str, Tensor]:
    """The authors' weights under Parrot's names, the experts' matrices stacked.

    Args:
        weights: By the authors' names.
        experts_enabled: False leaves router and experts out: they are saved, but bypassed.
    """
    state: dict[str, Tensor] = {}
    experts: dict[str, dict[int, Tensor]] = {}
    for name, weight in weights.items():
        if name.endswith(_COMPUTED):
            continue
        found = _EXPERT.match(name)
        if found:
            # [C, I] of a linear layer down; stacked as [I, C] like the others.
            matrix = weight.T if found[2] == "down" else weight
            experts.setdefault(f"experts.{found[2]}_proj", {})[int(found[1])] = matrix
        elif name == "model.moe_model.gate.weight":
            if experts_enabled:
                state["experts.router"] = weight
        else:
            state[_rename(name)] = weight
    if experts_enabled:
        for name, matrices in experts.items():
            if sorted(matrices) != list(range(len(matrices))):
                raise CheckpointError(
                    f"{name} is there for experts {sorted(matrices)} only",
                    hint="The checkpoint is incomplete; copy or download it again.",
                )
            state[name] = torch.stack([matrices[number] for number in range(len(matrices))])
    return state


def _rename(name: str) -> str:
    for prefix, replacement in _PREFIXES.items():
        if name.startswith(prefix):
            return replacement + name.removeprefix(prefix)
    return name  # reported as a weight that does not belong


def _fetch(source: str) -> Path:
    check_source(source)
    folder = Path(source)
    if folder.is_dir():
        return folder
    patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
    try:
        return Path(snapshot_download(source, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"the model hub does not give {source}: {error}",
            hint="Check the name, or download it where the hub can be reached.",
        ) from error


def _vision_source(recorded: str, folder: Path) -> str:
    """A recorded path may be absolute, or relative to the checkpoint or to what lies beside it."""
    for place in (Path(recorded), folder / recorded, folder.parent / recorded):
        if (place / "config.json").is_file():
            return fspath(place)
    if not is_hub_name(recorded):
        raise CheckpointError(
            f"the vision encoder {recorded} that {folder} was trained with is not there",
            hint="Say where its config.json is, with vision_encoder.",
        )
    return recorded


def _vision_config(source: str) -> PreTrainedConfig:
    config = load_part(AutoConfig.from_pretrained, source)
    found: PreTrainedConfig = getattr(config, "vision_config", config)
    return found


def _read_weights(folder: Path) -> dict[str, Tensor]:
    check_safetensors(folder)
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        absent = sorted(wanted - {path.name for path in files})
        if absent:
            raise CheckpointError(
                f"{folder} lacks {', '.join(absent)}", hint="Copy or download it again."
            )
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                weights.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is damaged: {error}",
                hint="It may be cut short; copy or download it again.",
            ) from error
    return weights


def _unsupported(what: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint has {what}",
        hint="No published checkpoint has this; please report it with the config.json.",
    )

"""The Parrot model, at home in transformers: importing this package registers it there."""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from parrot_core.model.checkpoint import load_parrot
from parrot_core.model.config import ParrotConfig
from parrot_core.model.join import join_parrot
from parrot_core.model.modeling import ParrotForConditionalGeneration
from parrot_core.model.outputs import ParrotImageFeatures, ParrotOutput
from parrot_core.model.processing import ParrotProcessor

__all__ = [
    "ParrotConfig",
    "ParrotForConditionalGeneration",
    "ParrotImageFeatures",
    "ParrotOutput",
    "ParrotProcessor",
    "join_parrot",
    "load_parrot",
]

AutoConfig.register(ParrotConfig.model_type, ParrotConfig, exist_ok=True)
AutoModelForImageTextToText.register(ParrotConfig, ParrotForConditionalGeneration, exist_ok=True)
AutoProcessor.register(ParrotConfig, ParrotProcessor, exist_ok=True)

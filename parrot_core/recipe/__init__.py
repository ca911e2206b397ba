"""Recipes: one TOML file that pins a training run, parsed once into typed, frozen, strict objects.

- `schema`: what a recipe may say, and the paper's values as defaults;
- `load`: from a file and `--set` values to a `Recipe`, or every mistake at once;
- `origins`: where each value came from;
- `datasets`: data sets by name, Table 3's among them;
- `batches`: how the global batch falls to processes;
- `hardware`: GPUs by name.
"""

from parrot_core.recipe.batches import BatchShare, share_batch
from parrot_core.recipe.datasets import ChosenData, chosen_data, require_data_files
from parrot_core.recipe.load import LoadedRecipe, load_recipe, read_recipe, recipe_as_json
from parrot_core.recipe.origins import Setting, as_toml, settings
from parrot_core.recipe.schema import (
    AboutRecipe,
    DataRecipe,
    DataSet,
    DataUse,
    ExpertsRecipe,
    LanguageModelRecipe,
    LaunchRecipe,
    LearningRates,
    LoggingRecipe,
    LoraRecipe,
    ModelRecipe,
    Offload,
    Packing,
    Part,
    Recipe,
    Stage1Recipe,
    Stage2Recipe,
    StageName,
    StageRecipe,
    Zero,
)

__all__ = [
    "AboutRecipe",
    "BatchShare",
    "ChosenData",
    "DataRecipe",
    "DataSet",
    "DataUse",
    "ExpertsRecipe",
    "LanguageModelRecipe",
    "LaunchRecipe",
    "LearningRates",
    "LoadedRecipe",
    "LoggingRecipe",
    "LoraRecipe",
    "ModelRecipe",
    "Offload",
    "Packing",
    "Part",
    "Recipe",
    "Setting",
    "Stage1Recipe",
    "Stage2Recipe",
    "StageName",
    "StageRecipe",
    "Zero",
    "as_toml",
    "chosen_data",
    "load_recipe",
    "read_recipe",
    "recipe_as_json",
    "require_data_files",
    "settings",
    "share_batch",
]

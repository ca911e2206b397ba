"""TensorBoard and Weights & Biases: a run's log goes there too, where a recipe asks for it."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from parrot_core.errors import MissingError
from parrot_core.recipe import Recipe

_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}


def prepare_loggers(recipe: Recipe, wanted: Sequence[str], *, output: Path) -> None:
    """Sees that what a recipe asks for is installed, and tells it where the run belongs.

    Args:
        recipe: Its `[logging]` names the project.
        wanted: `tensorboard`, `wandb`.
        output: Folder of the run.

    Raises:
        MissingError: if one is not installed.
    """
    for name in wanted:
        if not any(find_spec(package) for package in _PACKAGES[name]):
            raise MissingError(
                f"the recipe asks for {name}, which is not installed",
                hint=f"pip install {name}, or set logging.{name} = false.",
            )
    # The library reads these and nothing else.
    if "tensorboard" in wanted:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(output / "tensorboard"))
    if "wandb" in wanted:
        os.environ.setdefault("WANDB_PROJECT", recipe.logging.wandb_project)

"""Training: Algorithm 1's two stages, and the small language model of the embedded default."""

from parrot_core.training.checkpoints import Checkpoint
from parrot_core.training.language_model import train_language_model
from parrot_core.training.settings import Progress
from parrot_core.training.stages import train_stage

__all__ = ["Checkpoint", "Progress", "train_language_model", "train_stage"]

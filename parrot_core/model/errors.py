"""What can be wrong with a model's inputs and files, by name, so that callers can tell."""

from parrot_core.errors import MissingError, UsageError


class PlaceholderError(UsageError):
    """The image placeholders in the text and the images that were given do not match."""


class ImageError(UsageError):
    """An image that cannot be shown to the model: too small, not finite, of the wrong size."""


class GuidanceError(UsageError):
    """An image whose sample has no text token that could guide it (equation 2)."""


class NothingSupervisedError(UsageError):
    """A conversation or a batch without a single token to learn from; its loss would be NaN."""


class ChatTemplateError(UsageError):
    """A chat template that is missing, or in which the assistant's words cannot be found."""


class CheckpointError(MissingError):
    """A checkpoint that is missing, damaged, incomplete, or of a kind that Parrot does not load."""

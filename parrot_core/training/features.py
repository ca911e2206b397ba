"""What the frozen vision encoder sees in the images of a training set, computed once and kept.

The numbers are those that the encoder would give again and again. They are kept beside Parrot's
other files that can be made again, under a name that says what they depend on: the encoder's
weights, how images are prepared, precision, device, and the bytes of every image.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from parrot_core.data.cache import default_cache, locked
from parrot_core.data.images import ImageError, load_image
from parrot_core.data.samples import ImageFile
from parrot_core.errors import MissingError
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor
from parrot_core.training.world import World, wait_for_all

logger = logging.getLogger(__name__)

_ENCODED_AT_ONCE = 64  # always, a last batch filled up: kernels differ with the size of a batch
_FORMAT = 2
_ANY_SIDE = 32


class VisionFeatures:
    """The features of every image of a training set, encoded once by the frozen encoder.

    The file is made by all processes together, each a share, and mapped into memory by each.

    Args:
        model: Its vision encoder does it.
        processor: Prepares the images.
        images: Every image once.
        world: The processes.
        cache: Folder for the file; Parrot's own by default.

    Raises:
        MissingError: if the file cannot be written.
    """

    def __init__(
        self,
        model: ParrotForConditionalGeneration,
        processor: ParrotProcessor,
        images: Sequence[ImageFile],
        *,
        world: World | None = None,
        cache: Path | None = None,
    ) -> None:
        world = world or World()
        self.broken: dict[ImageFile, str] = {}
        """Images that cannot be read, and why; they have no features."""
        self._rows = {file: row for row, file in enumerate(images)}
        size = model.config.image_size
        parameters = list(model.vision_encoder.parameters())
        with torch.no_grad(), _whole(parameters):
            none = torch.zeros(_ENCODED_AT_ONCE, 3, size, size, device=model.device)
            self._empty = model.vision_features(none)[:0].cpu()
            if not images:
                return
            key = _key(model, processor, images, self._empty)
            path = (cache or default_cache()) / "vision" / f"{key}.npy"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with _alone(world, path):
                    if not path.is_file():
                        logger.info("encodes %d images", len(images))
                        self._encode(model, processor, images, world, path)
                    wait_for_all(world)
            except (OSError, NotImplementedError) as error:  # the latter: a disk that cannot lock
                _unfinished(path).unlink(missing_ok=True)
                raise MissingError(
                    f"cannot keep vision features in {path.parent}: "
                    f"{getattr(error, 'strerror', None) or error}",
                    hint="Make room, name another folder by PARROT_CACHE, or set "
                    "cache_vision_features = false.",
                ) from error
        self._features = np.load(path, mmap_mode="r", allow_pickle=False)
        found = json.loads(_problems(path).read_text(encoding="utf-8"))
        self.broken = {images[int(row)]: problem for row, problem in found.items()}
        for file in self.broken:
            del self._rows[file]

    def __call__(self, files: Sequence[ImageFile]) -> Tensor:
        """float[images, 1 + patches, D_v] of images, in order; maybe of none."""
        if not files:
            return self._empty
        found = self._features[[self._rows[file] for file in files]]
        return torch.from_numpy(found).view(self._empty.dtype)

    def _encode(
        self,
        model: ParrotForConditionalGeneration,
        processor: ParrotProcessor,
        images: Sequence[ImageFile],
        world: World,
        path: Path,
    ) -> None:
        """Writes the features of all images, each process those of its share."""
        staged = _unfinished(path)
        shape = (len(images), *self._empty.shape[1:])
        kind = _stored_as(self._empty.dtype)
        if world.is_first:
            np.lib.format.open_memmap(staged, mode="w+", dtype=kind, shape=shape).flush()
        wait_for_all(world)
        features = np.load(staged, mmap_mode="r", allow_pickle=False)
        problems: dict[int, str] = {}
        starts = range(0, len(images), _ENCODED_AT_ONCE)
        # Written, not mapped: where a disk is full, a mapped page that finds no room is the end of
        # the process.
        with staged.open("r+b") as rows:
            for start in starts[world.rank :: world.size]:
                files = images[start : start + _ENCODED_AT_ONCE]
                loaded = [_load(file, problems, row) for row, file in enumerate(files, start=start)]
                pixels = processor.prepare_images(loaded).to(model.device)
                filled = torch.zeros(_ENCODED_AT_ONCE, *pixels.shape[1:]).to(pixels)
                filled[: len(files)] = pixels
                encoded = model.vision_features(filled)[: len(files)].cpu().contiguous()
                rows.seek(features.offset + start * features.strides[0])
                rows.write(encoded.view(_as_integers(encoded)).numpy().data)
            rows.flush()
            os.fsync(rows.fileno())
        _problems(path, world.rank).write_text(json.dumps(problems), encoding="utf-8")
        wait_for_all(world)
        if world.is_first:
            for rank in range(world.size):
                problems |= json.loads(_problems(path, rank).read_text(encoding="utf-8"))
                _problems(path, rank).unlink()
            _problems(path).write_text(json.dumps(problems), encoding="utf-8")
            staged.replace(path)


@contextmanager
def _alone(world: World, path: Path) -> Iterator[None]:
    """While this lasts, no other run makes the same file: it would write over this one's rows."""
    with ExitStack() as held:
        if world.is_first:
            held.enter_context(locked(path.with_suffix(".lock"), task=f"makes {path}"))
        wait_for_all(world)
        yield


def _unfinished(path: Path) -> Path:
    return path.with_suffix(".unfinished")


def _problems(path: Path, rank: int | None = None) -> Path:
    """Beside the features: which images cannot be read, as all or one of the processes found."""
    return path.with_suffix(".json" if rank is None else f".{rank}.json")


def _load(file: ImageFile, problems: dict[int, str], row: int) -> Image.Image:
    try:
        return load_image(file.path, root=file.root)
    except ImageError as error:
        problems[row] = error.problem
        return Image.new("RGB", (_ANY_SIDE, _ANY_SIDE))  # that nobody may ask for


def _key(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    images: Sequence[ImageFile],
    like: Tensor,
) -> str:
    """Names all that features depend on."""
    digest = hashlib.sha256()
    facts: dict[str, Any] = {
        "format": _FORMAT,
        "encoder": model.config.vision_config.to_dict(),
        "layer": model.config.vision_feature_layer,
        "query": model.config.image_query,
        "preparation": json.loads(processor.image_processor.to_json_string()),
        "pad_to_square": processor.pad_to_square,
        "shape": list(like.shape[1:]),
        "dtype": str(like.dtype),
        "device": model.device.type,
        "torch": torch.__version__,
    }
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, value in sorted(model.vision_encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    for image in images:
        digest.update(_fingerprint(image))
    return digest.hexdigest()[:32]


def _fingerprint(image: ImageFile) -> bytes:
    """Of its content; nothing of one that is gone, which is told when it is to be encoded."""
    try:
        with (image.root / image.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def _as_integers(tensor: Tensor) -> torch.dtype:
    """A type of the same width that numpy knows: it has no bfloat16."""
    return {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]


def _stored_as(dtype: torch.dtype) -> str:
    return f"int{8 * torch.empty(0, dtype=dtype).element_size()}"


def _whole(parameters: list[nn.Parameter]) -> AbstractContextManager[None]:
    """While this lasts, parameters that DeepSpeed divided among processes are whole on each."""
    if not any(hasattr(parameter, "ds_numel") for parameter in parameters):
        return nullcontext()
    from deepspeed import zero

    gathered: AbstractContextManager[None] = zero.GatheredParameters(parameters)
    return gathered

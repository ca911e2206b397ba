"""Visual tokens before and after the experts beside the text: Figure 6 of the paper, in numbers.

Shapes: M images of a batch, V visual tokens of an image, C hidden size, D tokens drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from parrot_core.inspection.reading import Batch
from parrot_core.model import ParrotForConditionalGeneration

Places = list[tuple[float, float]]

_LARGEST_PERPLEXITY = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Closeness:
    """How near visual tokens are to a text's tokens.

    Attributes:
        centroid_cosine: Cosine of the two clouds' means, over all tokens.
        centroid_distance: Euclidean distance of these means.
        nearest_cosine: Cosine of a drawn visual token and the text token nearest to it by angle,
            the mean over the visual tokens that were drawn.
    """

    centroid_cosine: float
    centroid_distance: float
    nearest_cosine: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenClouds:
    """The tokens of one language's questions.

    Attributes:
        before: float32[D, C], of H_v, projected and not yet turned to the language.
        after: float32[D, C], the same tokens of G_v (equation 5).
        text: float32[W, C], the word embeddings of the tokens that guide, each different one once.
        closeness_before: Of H_v and the text.
        closeness_after: Of G_v and the text.
    """

    before: Tensor
    after: Tensor
    text: Tensor
    closeness_before: Closeness
    closeness_after: Closeness


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenMap:
    """Where the tokens of one language lie in a picture: (x, y) of each."""

    before: Places
    after: Places
    text: Places


@dataclass
class _Gathered:
    before: list[Tensor] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)
    sums: list[Tensor] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)
    count: int = 0


class TokenWatcher:
    """Draws visual tokens, and notes which text tokens guide, as batches pass.

    Args:
        model: With experts.
        drawn: D, the visual tokens to keep of each language.
        seed: Of the drawing.
    """

    def __init__(
        self, model: ParrotForConditionalGeneration, *, drawn: int = 120, seed: int = 0
    ) -> None:
        self._model = model
        self._drawn = drawn
        self._generator = torch.Generator().manual_seed(seed)
        self._languages: dict[str, _Gathered] = {}

    def __call__(self, language: str, batch: Batch) -> None:
        """Takes note of a batch."""
        features, gathered = batch.features, self._languages.setdefault(language, _Gathered())
        assert features.pooler_output is not None
        assert features.visual_tokens is not None
        after = torch.stack(features.pooler_output).float().cpu()  # [M, V, C]
        # Where the language model does not see the [CLS] token, only the patches compare.
        before = features.visual_tokens[:, -after.shape[1] :].float().cpu()
        for one, other in zip(before, after, strict=True):
            order = torch.randperm(len(one), generator=self._generator)[: self._drawn]
            gathered.before.append(one[order])
            gathered.after.append(other[order])
        gathered.sums.append(torch.stack([before, after]).double().sum(dim=(1, 2)))  # [2, C]
        gathered.count += before.shape[0] * before.shape[1]
        guiding = batch.inputs["guidance_mask"].bool() & batch.inputs["attention_mask"].bool()
        gathered.ids |= set(batch.inputs["input_ids"][guiding].tolist())

    def clouds(self) -> dict[str, TokenClouds]:
        """For each language its tokens, and how near they are to each other."""
        return {language: self._clouds(entry) for language, entry in self._languages.items()}

    def _clouds(self, gathered: _Gathered) -> TokenClouds:
        before, after = torch.cat(gathered.before), torch.cat(gathered.after)
        order = torch.randperm(len(before), generator=self._generator)[: self._drawn]
        before, after = before[order], after[order]
        embeddings = self._model.get_input_embeddings()
        ids = torch.tensor(sorted(gathered.ids), device=self._model.device)
        with torch.no_grad():
            text = embeddings(ids).float().cpu()
        means = (torch.stack(gathered.sums).sum(dim=0) / gathered.count).float()  # [2, C]
        return TokenClouds(
            before=before,
            after=after,
            text=text,
            closeness_before=closeness(before, text, mean=means[0]),
            closeness_after=closeness(after, text, mean=means[1]),
        )


def closeness(visual: Tensor, text: Tensor, *, mean: Tensor) -> Closeness:
    """How near visual tokens are to a text's.

    Args:
        visual: float[D, C], drawn tokens.
        text: float[W, C].
        mean: float[C], the mean of all visual tokens.
    """
    centre = text.mean(dim=0)
    cosines = F.normalize(visual, dim=1) @ F.normalize(text, dim=1).T  # [D, W]
    return Closeness(
        centroid_cosine=float(F.cosine_similarity(mean, centre, dim=0)),
        centroid_distance=float((mean - centre).norm()),
        nearest_cosine=float(cosines.max(dim=1).values.mean()),
    )


def map_tokens(clouds: Mapping[str, TokenClouds], *, seed: int = 0) -> dict[str, TokenMap]:
    """Places tokens of all languages in one plane by t-SNE (van der Maaten & Hinton, 2008).

    Neighbours are those of the smallest angle: a language model normalises the length of what it
    reads away, and words and images differ in it by far. One plane for all languages, so that its
    panels can be compared.

    Args:
        clouds: By language.
        seed: The same seed gives the same picture.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    parts = [part for entry in clouds.values() for part in (entry.before, entry.after, entry.text)]
    tokens = torch.cat(parts)
    perplexity = min(_LARGEST_PERPLEXITY, (len(tokens) - 1) / 3)
    mapping = TSNE(perplexity=perplexity, metric="cosine", init="pca", random_state=seed, n_jobs=1)
    with threadpool_limits(1):  # sums of several threads differ from run to run
        placed = mapping.fit_transform(tokens.numpy())
    pieces = iter(_pieces(placed.tolist(), [len(part) for part in parts]))
    return {
        language: TokenMap(before=next(pieces), after=next(pieces), text=next(pieces))
        for language in clouds
    }


def _pieces(rows: Sequence[Sequence[float]], lengths: Sequence[int]) -> list[Places]:
    pieces, start = [], 0
    for length in lengths:
        pieces.append([(row[0], row[1]) for row in rows[start : start + length]])
        start += length
    return pieces

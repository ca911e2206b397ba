"""What a run counts between two lines of its log: loss and routing, also by language."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from parrot_core.model.supervision import IGNORED_LABEL
from parrot_core.training.world import World, sum_over


class Tally:
    """Sums since the last line of the log, on this process; `drain` sums them over all.

    Args:
        languages: Codes, in the order of the batches' language numbers.
        experts: E; 0 without experts.
        device: Where the sums are kept: nothing here waits for a GPU.
    """

    def __init__(self, languages: Sequence[str], *, experts: int, device: torch.device) -> None:
        self._languages = tuple(languages)
        rows = len(self._languages) + 1  # the last is for samples of no stated language
        # Columns: loss of tokens, tokens, images, and each expert's sum of P.
        self._sums = torch.zeros(rows, 3 + experts, dtype=torch.float64, device=device)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._steps = 0
        self._tokens = 0
        self._samples = 0

    def count_input(self, *, tokens: int, samples: int) -> None:
        """Counts what goes into the model."""
        self._tokens += tokens
        self._samples += samples

    def count_step(self) -> None:
        """Counts an optimiser step."""
        self._steps += 1

    @torch.no_grad()
    def count_output(
        self,
        *,
        loss: Tensor,
        labels: Tensor,
        languages: Tensor,
        token_losses: Tensor | None,
        routing_weights: Tensor | None,
        images: Tensor | None,
    ) -> None:
        """Counts what comes out of the model.

        Args:
            loss: This micro-batch's share of the step's loss.
            labels: int[B, N].
            languages: int[B], rows of the table.
            token_losses: float32[T], in reading order.
            routing_weights: float32[M, E].
            images: int[B], images of each sample.
        """
        self._loss += loss.detach().double()
        if token_losses is not None:
            of_token = languages[(labels[:, 1:] != IGNORED_LABEL).nonzero()[:, 0]]
            values = torch.stack([token_losses.double(), torch.ones_like(token_losses).double()], 1)
            self._sums[:, :2].index_add_(0, of_token, values)
        if routing_weights is not None and images is not None:
            of_image = languages.repeat_interleave(images, output_size=len(routing_weights))
            ones = torch.ones_like(routing_weights[:, :1])
            values = torch.cat([ones, routing_weights], dim=1).double()
            self._sums[:, 2:].index_add_(0, of_image, values)

    def drain(self, world: World) -> dict[str, Any]:
        """Returns what was counted on all processes, and begins anew.

        Returns:
            `loss` (mean over steps), `tokens`, `samples`, and where there is something to say,
            `loss_by_language` (mean over tokens) and `routing_by_language` (mean P of equation 3).
        """
        entry = _read(self.collect(world), self._languages)
        self.restore(None)
        return entry

    def collect(self, world: World) -> dict[str, Any]:
        """What was counted on all processes so far, to be restored by one of them."""
        scalars = torch.stack(
            [
                self._loss.cpu(),
                torch.tensor(self._tokens, dtype=torch.float64),
                torch.tensor(self._samples, dtype=torch.float64),
            ]
        )
        flat = sum_over(world, torch.cat([scalars, self._sums.cpu().flatten()])).tolist()
        width = self._sums.shape[1]
        sums = [flat[at : at + width] for at in range(3, len(flat), width)]
        return {
            "steps": self._steps,
            "loss": flat[0],
            "tokens": int(flat[1]),
            "samples": int(flat[2]),
            "sums": sums,
        }

    def restore(self, counted: dict[str, Any] | None) -> None:
        """Begins anew, or goes on from what `collect` returned."""
        self._steps = self._tokens = self._samples = 0
        self._loss.zero_()
        self._sums.zero_()
        if counted is not None:
            self._steps = counted["steps"]
            self._tokens, self._samples = counted["tokens"], counted["samples"]
            self._loss.fill_(counted["loss"])
            self._sums.copy_(torch.tensor(counted["sums"], dtype=torch.float64))

    def restore_steps(self, steps: int) -> None:
        """On a process that restores nothing else: the steps are the same on all."""
        self._steps = steps


def _read(counted: dict[str, Any], languages: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "loss": counted["loss"] / max(1, counted["steps"]),
        "tokens": counted["tokens"],
        "samples": counted["samples"],
    }
    by_language = list(zip(languages, counted["sums"], strict=False))
    losses = {code: row[0] / row[1] for code, row in by_language if row[1]}
    routing = {code: [weight / row[2] for weight in row[3:]] for code, row in by_language if row[2]}
    if losses:
        entry["loss_by_language"] = losses
    if any(routing.values()):
        entry["routing_by_language"] = routing
    return entry

"""What a run is warned of: routers that send everything one way, languages that never come."""

import logging
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

COLLAPSED = 0.95
_LINES_IN_A_ROW = 3


class RouterWatch:
    """Says once if one expert gets nearly all of the weight in every language."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def look_at(self, routing: Mapping[str, Sequence[float]]) -> None:
        """Looks at the mean routing weights per language of one line of the log."""
        if not routing:
            return
        first = next(iter(routing.values()))
        expert = max(range(len(first)), key=first.__getitem__)
        collapsed = len(first) > 1 and all(row[expert] > COLLAPSED for row in routing.values())
        self._in_a_row = self._in_a_row + 1 if collapsed else 0
        if self._in_a_row == _LINES_IN_A_ROW:
            logger.warning(
                "the router has collapsed: expert %d gets over %.0f %% of the weight in every "
                "language; a lower learning_rates.router may help",
                expert,
                100 * COLLAPSED,
            )


def warn_of_missing_languages(wanted: Sequence[str], found: Mapping[str, int]) -> None:
    """Says which languages of a recipe no sample is in."""
    missing = [code for code in wanted if not found.get(code)]
    if missing and found:
        logger.warning("no sample is in %s, which the recipe names", ", ".join(missing))

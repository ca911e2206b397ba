"""Looking into a trained model: which expert works for which language, and what it is good for.

- `questions`: what a model is asked while it is watched;
- `reading`: the model run over questions, batch by batch;
- `routing`, `measures`: Figure 7c, and what its weights say;
- `words`: which words pulled the router (equation 2);
- `tokens`: Figure 6, visual tokens before and after the experts;
- `ablation`: experts switched off;
- `over_training`, `comparison`: a run's log, and two checkpoints;
- `report`: all of it from one pass.
"""

from parrot_core.inspection.ablation import Ablation, Score, ablate
from parrot_core.inspection.comparison import Comparison, compare, pair_experts
from parrot_core.inspection.measures import (
    ExpertUsage,
    entropy,
    expert_usage,
    find_warnings,
    jensen_shannon,
    language_distances,
    mean_distance,
    mean_entropy,
)
from parrot_core.inspection.over_training import LoggedRouting, read_routing_log
from parrot_core.inspection.questions import (
    Asked,
    built_in_conversations,
    data_conversations,
    in_table_order,
)
from parrot_core.inspection.report import (
    Inspection,
    comparison_as_json,
    inspect,
    inspection_as_json,
)
from parrot_core.inspection.routing import (
    LanguageRouting,
    language_told_by_routing,
    routing_by_language,
    summarise,
)
from parrot_core.inspection.tokens import (
    Closeness,
    TokenClouds,
    TokenMap,
    TokenWatcher,
    closeness,
    map_tokens,
)
from parrot_core.inspection.words import GuidingWord, WordWatcher, words_of_tokens

__all__ = [
    "Ablation",
    "Asked",
    "Closeness",
    "Comparison",
    "ExpertUsage",
    "GuidingWord",
    "Inspection",
    "LanguageRouting",
    "LoggedRouting",
    "Score",
    "TokenClouds",
    "TokenMap",
    "TokenWatcher",
    "WordWatcher",
    "ablate",
    "built_in_conversations",
    "closeness",
    "compare",
    "comparison_as_json",
    "data_conversations",
    "entropy",
    "expert_usage",
    "find_warnings",
    "in_table_order",
    "inspect",
    "inspection_as_json",
    "jensen_shannon",
    "language_distances",
    "language_told_by_routing",
    "map_tokens",
    "mean_distance",
    "mean_entropy",
    "pair_experts",
    "read_routing_log",
    "routing_by_language",
    "summarise",
    "words_of_tokens",
]

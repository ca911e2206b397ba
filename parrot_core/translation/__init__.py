"""Little multilingual data out of English data: the semi-automatic translation of Figure 3.

- `pipeline`: draft, re-check, independent refinements, vote, for one segment, as `settings` say;
- `by_model`, `by_people`: one step, done by either;
- `prompts`: what a model is told in each step, as files with versions;
- `chat_api`, `local`: who does a step, behind the `Worker` of `workers`; people come through
  `review`;
- `calls`, `limits`, `costs`: how calls are made, retried, slowed down and paid;
- `journal`, `records`: where every answer is kept before anything else happens to it;
- `checks`, `protection`, `glossary`: what a translation must keep, and what is suspicious;
- `job`, `output`, `estimate`: whole files, resumable at any moment.
"""

from parrot_core.translation.job import JobReport, Limits, Progress, translate
from parrot_core.translation.settings import Settings

__all__ = ["JobReport", "Limits", "Progress", "Settings", "translate"]

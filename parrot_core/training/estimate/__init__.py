"""What a stage needs before it is started: parameters, memory, steps and hours, from shapes alone.

- `configs`: the backbones' configs, from wherever they are at hand;
- `blueprint`: the model without weights, counted part by part;
- `lengths`, `work`: how much there is to do;
- `memory`: what GPUs and main memory hold;
- `plan`: a stage on given processes, and variants of it;
- `stage`: all of it together;
- `fitting`: whether it fits, and what to change.
"""

from parrot_core.training.estimate.fitting import check_memory
from parrot_core.training.estimate.stage import Estimate, estimate_stage

__all__ = ["Estimate", "check_memory", "estimate_stage"]

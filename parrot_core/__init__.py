"""The core of Parrot: model, data, training, benchmarks and inspection, without a word printed.

Rooms, in the direction in which imports may point (`tests/test_architecture.py` holds them to it):

- `errors`, `languages`: what everything may use;
- `model`: Equations 1 to 5 as a transformers model, its processor and its checkpoints;
- `data`: LLaVA samples, images, batches, and the picture-text set of the embedded default;
- `recipe`: one TOML file, parsed into typed settings; data sets and GPUs by name;
- `machine`: what this machine has;
- `translation`: Figure 3, by models and by people;
- `benchmarks`: questions, matching of answers, scores;
- `generation`, `inspection`: answers and routing from a trained model;
- `serving`: such a model for other programs and for a browser;
- `training`: the stages of Algorithm 1.
"""

__version__ = "0.1.0"

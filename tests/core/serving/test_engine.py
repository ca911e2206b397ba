"""The engine behind the server: what becomes of a batch that fails."""

import gc
import weakref

import torch

from parrot_core.generation import Row, ask, encode_prompt
from parrot_core.serving import engine as engine_module
from parrot_core.serving.engine import Engine


def test_a_batch_that_fails_is_forgotten_before_each_of_it_is_tried_alone(parrot, monkeypatch):
    """Else the GPU's memory would be full of what the batch had come to."""
    tried, held = [], []

    def decode(*parts_and_rows):
        rows = parts_and_rows[-1]
        tried.append(len(rows))
        if len(rows) > 1:
            states = torch.zeros(3)
            held.append(weakref.ref(states))
            raise torch.OutOfMemoryError("CUDA out of memory")
        gc.collect()
        assert held[0]() is None

    monkeypatch.setattr(engine_module, "decode", decode)
    prompt = encode_prompt(*parrot, ask("What?", language="en"))
    Engine(parrot)._answer([Row(prompt, max_new_tokens=1) for _ in range(2)])
    assert tried == [2, 1, 1]

"""How the chat models of each family write a conversation: templates in their manner.

Each is written after the family's published format and reduced to what tests need: turns, a system
prompt or its refusal, trimming, and the prompt for the next answer.
"""

from dataclasses import dataclass, field

from tests.conftest import byte_tokenizer

EACH = "{% for m in messages %}"
ALTERNATE = (
    EACH + "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user and assistant') }}{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A chat model's way of writing.

    Attributes:
        kind: Row of the table of language models.
        template: Jinja; None where the family's tokenizers were published without.
        tokens: Special tokens by name, as `byte_tokenizer` takes them.
        written: What becomes of a question `Q`, its answer `A`, and a question `R` to be answered.
        end: The token that ends an answer.
    """

    kind: str
    template: str | None
    tokens: dict[str, object] = field(default_factory=dict)
    written: str
    end: str

    def tokenizer(self):
        return byte_tokenizer(self.template, **self.tokens)


CHATML_TURNS = (
    EACH + "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
CHATML_WRITTEN = (
    "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    "<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    + ALTERNATE
    + "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA_WRITTEN = (
    "<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
    "<start_of_turn>user\nR<end_of_turn>\n<start_of_turn>model\n"
)
GEMMA_TOKENS = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "specials": ("<start_of_turn>", "<end_of_turn>"),
}
INSTRUCT = (
    "{{ bos_token }}" + ALTERNATE + "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
SENTENCEPIECE_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

FAMILIES = {
    "Qwen1.5 and Qwen2": Family(
        kind="qwen2", template=None, written=SYSTEM + CHATML_WRITTEN, end="<|im_end|>"
    ),
    "Qwen2.5": Family(
        kind="qwen2",
        template="{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen."
        "<|im_end|>\n{% endif %}" + CHATML_TURNS,
        written="<|im_start|>system\nYou are Qwen.<|im_end|>\n" + CHATML_WRITTEN,
        end="<|im_end|>",
    ),
    "Qwen3": Family(
        kind="qwen3",
        template=EACH + "<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}"
        "<think>\n\n</think>\n\n{% endif %}{% endif %}",
        written=CHATML_WRITTEN + "<think>\n\n</think>\n\n",
        end="<|im_end|>",
    ),
    "Vicuna": Family(
        kind="llama",
        template=None,
        tokens=SENTENCEPIECE_TOKENS,
        written="<s>A chat between a curious user and an artificial intelligence assistant. The "
        "assistant gives helpful, detailed, and polite answers to the user's questions. "
        "USER: Q ASSISTANT: A</s>USER: R ASSISTANT:",
        end="</s>",
    ),
    "Llama 2": Family(
        kind="llama",
        template=INSTRUCT,
        tokens=SENTENCEPIECE_TOKENS,
        written="<s>[INST] Q [/INST] A</s>[INST] R [/INST]",
        end="</s>",
    ),
    "Llama 3": Family(
        kind="llama",
        template="{{ bos_token }}" + EACH + "<|start_header_id|>{{ m['role'] }}<|end_header_id|>"
        "\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% endif %}",
        tokens={
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "specials": ("<|start_header_id|>", "<|end_header_id|>"),
        },
        written="<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nR<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
    ),
    "Mistral": Family(
        kind="mistral",
        template=INSTRUCT,
        tokens=SENTENCEPIECE_TOKENS,
        written="<s>[INST] Q [/INST] A</s>[INST] R [/INST]",
        end="</s>",
    ),
    "Gemma": Family(
        kind="gemma",
        template=GEMMA,
        tokens=GEMMA_TOKENS,
        written=GEMMA_WRITTEN,
        end="<end_of_turn>",
    ),
    "Gemma 2": Family(
        kind="gemma2",
        template=GEMMA,
        tokens=GEMMA_TOKENS,
        written=GEMMA_WRITTEN,
        end="<end_of_turn>",
    ),
    "Gemma 3": Family(
        kind="gemma3_text",
        template=GEMMA,
        tokens=GEMMA_TOKENS,
        written=GEMMA_WRITTEN,
        end="<end_of_turn>",
    ),
}

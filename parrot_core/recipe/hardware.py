"""GPUs by name: what estimates and recipes must know of them, from their makers' data sheets."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        memory_gb: Of the card, in 10^9 bytes, as its name says.
        bfloat16_tflops: Peak rate of dense bfloat16 products with float32 sums, in 10^12
            operations per second, without sparsity.
        names: What a driver's name of such a card contains.
    """

    memory_gb: float
    bfloat16_tflops: float
    names: tuple[str, ...] = ()


GPUS: dict[str, Gpu] = {
    "A100-80GB": Gpu(memory_gb=80, bfloat16_tflops=312, names=("A100-SXM4-80GB", "A100 80GB")),
    "A100-40GB": Gpu(memory_gb=40, bfloat16_tflops=312, names=("A100-SXM4-40GB", "A100-PCIE-40GB")),
    "H100-80GB": Gpu(memory_gb=80, bfloat16_tflops=989, names=("H100 80GB HBM3",)),
    "H200-141GB": Gpu(memory_gb=141, bfloat16_tflops=989, names=("H200",)),
    "L40S-48GB": Gpu(memory_gb=48, bfloat16_tflops=362, names=("L40S",)),
    "A6000-48GB": Gpu(memory_gb=48, bfloat16_tflops=155, names=("RTX A6000",)),
    "A10-24GB": Gpu(memory_gb=24, bfloat16_tflops=125, names=("A10",)),
    "RTX4090-24GB": Gpu(memory_gb=24, bfloat16_tflops=165, names=("RTX 4090",)),
    "RTX3090-24GB": Gpu(memory_gb=24, bfloat16_tflops=71, names=("RTX 3090",)),
}
"""By the name that `launch.gpu` and `--gpu` take."""

"""Speed and memory: TensorFloat-32, gradient checkpointing, torch.compile."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ser.config import ModelConfig


def accelerate(network: nn.Module, config: ModelConfig) -> None:
    """Set up, in place, what trades time, memory and rounding against one another.

    The weights and their names stay as they are.
    """
    # Ten bits of mantissa where the GPU has such units (Ampere and later); elsewhere no change.
    torch.backends.cuda.matmul.allow_tf32 = config.tf32
    torch.backends.cudnn.allow_tf32 = config.tf32
    if config.gradient_checkpointing:
        for part in network.modules():
            if isinstance(part, PreTrainedModel):
                part.activation_checkpointing_enable()
                break
    if config.compile:
        network.compile(dynamic=True)  # lengths differ from batch to batch


def explain_memory(error: torch.OutOfMemoryError, batch_size: int, accumulated: int) -> str:
    """What to try where a GPU's memory is too small, in one sentence."""
    reason = str(error).partition(". ")[0].strip()
    smaller, more = max(1, batch_size // 2), accumulated * 2
    return (
        f"the GPU's memory is too small ({reason}): try data.batch_size={smaller}"
        f" trainer.accumulate_grad_batches={more} (the same steps in smaller pieces), a smaller"
        " data.max_seconds, model.gradient_checkpointing=true, trainer.precision=bf16-mixed, or"
        " model=lora"
    )

"""What is trained: all of the network, low-rank adapters or the head, and at which rate."""

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from ser.config.model import Mode, ModelConfig
from ser.errors import UserError
from ser.models.network import EmotionNetwork


def set_trainable(network: EmotionNetwork, config: ModelConfig) -> None:
    """Freeze what the settings keep fixed, and set frozen modules to evaluation mode.

    Every parameter that stays trainable gets a gradient in every step, as distributed training
    needs. Raises UserError if `model.top_layers` exceeds the number of layers.
    """
    network.train()
    first = network.first_trained_layer = find_first_trained(network, config)
    family = network.family
    layers = family.layers(network)
    partial = config.mode != Mode.full or config.top_layers is not None
    if partial:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(network.is_head(name))
    if partial or config.freeze_feature_encoder:
        for part in family.frontend(network):
            part.requires_grad_(False)
    if config.mode == Mode.lora:
        add_adapters(network, config)
    elif config.top_layers is not None:
        norm = family.final_norm(network)
        for part in (layers[first:], *([] if norm is None else [norm])):
            part.requires_grad_(True)
    freeze_unused(network)
    if config.freezes_layers:
        for name, part in network.named_children():
            if not network.is_head(name):
                part.eval()
        layers[first:].train()
    network.augments = config.mode != Mode.head


def find_first_trained(network: EmotionNetwork, config: ModelConfig) -> int:
    """The first transformer layer that is trained; the number of layers if none is."""
    if config.mode == Mode.head:
        return network.depth
    if config.top_layers is None:
        return 0
    if config.top_layers > network.depth:
        raise UserError(
            f"model.top_layers={config.top_layers}: {config.backbone.name} has"
            f" {network.depth} transformer layers"
        )
    return network.depth - config.top_layers


def freeze_unused(network: EmotionNetwork) -> None:
    """Freeze what the loss does not depend on: DDP waits for every trainable parameter."""
    norm = network.family.final_norm(network)
    if network.weighted and norm is not None:  # the sum is over the layers before the final norm
        norm.requires_grad_(False)
    for part in network.family.unused(network):
        part.requires_grad_(False)
    vector = getattr(network.base_model, "masked_spec_embed", None)
    if vector is not None:
        below = [p for part in network.family.projection(network) for p in part.parameters()]
        if network.config.mask_time_prob == 0 or not any(p.requires_grad for p in below):
            # Trained below frozen layers, it would pull the backward pass through all of them.
            vector.requires_grad_(False)


def add_adapters(network: EmotionNetwork, config: ModelConfig) -> None:
    """Low-rank adapters (Hu et al., 2021; the peft library) in the trained layers, and a head."""
    from peft import LoraConfig, inject_adapter_in_model

    numbers = "|".join(map(str, range(find_first_trained(network, config), network.depth)))
    targets = network.family.lora_targets
    adapters = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # pyright: ignore[reportArgumentType]  (floats work)
        lora_dropout=config.lora.dropout,
        target_modules=rf"(.*\.)?encoder\.layers?\.({numbers})\.{targets}",
    )
    inject_adapter_in_model(adapters, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".lora_" in name or network.is_head(name))


def parameter_groups(network: EmotionNetwork, config: ModelConfig) -> list[dict[str, Any]]:
    """The trainable parameters by learning rate and weight decay.

    Biases and norms, which are vectors, are not decayed. The head has its own rate. With
    `layer_decay`, rates fall from the last transformer layer downwards (Clark et al., 2020).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate_of(name, network, config), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in sorted(groups.items(), key=lambda item: item[0][1] == 0)
    ]


def rate_of(name: str, network: EmotionNetwork, config: ModelConfig) -> float:
    """The peak learning rate of a parameter, by its name."""
    if network.is_head(name):
        return config.head_lr
    layer = re.search(r"(?:^|\.)encoder\.layers?\.(\d+)\.", name)
    norm = network.family.final_norm(network)
    last = (
        norm is not None
        and re.search(r"(?:^|\.)encoder\.(layer_norm|upsample)\.", name) is not None
    )
    above = network.depth - 1 - int(layer[1]) if layer else 0 if last else network.depth
    return config.lr * config.layer_decay**above


def merge_adapters(weights: dict[str, Any], scale: float) -> Iterator[tuple[str, Any]]:
    """Weights by name, with low-rank adapters merged: W + scale * B A.

    Plain arithmetic, so that using a network does not need the library it was trained with.
    """
    for name, value in weights.items():
        stem = name.removesuffix(".base_layer.weight")
        if ".lora_" in name:
            continue
        if stem != name:
            down = weights[f"{stem}.lora_A.default.weight"]
            up = weights[f"{stem}.lora_B.default.weight"]
            yield f"{stem}.weight", value + scale * (up @ down)
        else:
            yield name.replace(".base_layer.", "."), value

"""What is trained: all of the network, adapters or the head; and at which rate."""

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from ser.model_config import Mode, ModelConfig
from ser.network import EmotionNetwork

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
FEED_FORWARD = ("intermediate_dense", "output_dense")
HEAD = ("projector", "classifier", "pooling", "layer_weights")


def set_trainable(network: EmotionNetwork, config: ModelConfig) -> None:
    """Freeze what the settings leave as it is, and set what is frozen to evaluation mode.

    Every parameter left trainable gets a gradient in every step, as training over several devices
    needs. Raises ValueError where `model.top_layers` asks for more layers than there are.
    """
    network.train()
    first = network.resumed_layer = first_trained_layer(network, config)
    backbone, encoder = network.backbone, network.backbone.encoder
    partly = config.mode != Mode.full or config.top_layers is not None
    if partly:
        backbone.requires_grad_(False)
    if partly or config.freeze_feature_encoder:
        # Only this method also stops autograd from running through the encoder (transformers 5);
        # `requires_grad=False` on its parameters leaves a third of the step's time on the table.
        backbone.feature_extractor._freeze_parameters()
    if config.mode == Mode.lora:
        add_adapters(network, config)
    elif config.top_layers is not None:
        for part in (encoder.layers[first:], *final_norm(network)):
            part.requires_grad_(True)
    freeze_unused(network)
    if config.freezes_layers:
        for part in (backbone.feature_extractor, backbone.feature_projection, encoder):
            part.eval()
        encoder.layers[first:].train()
        # The flag of the backbone itself decides on SpecAugment alone.
        backbone.training = config.mode != Mode.head


def first_trained_layer(network: EmotionNetwork, config: ModelConfig) -> int:
    """Below this transformer layer nothing is trained; the number of layers means none is."""
    if config.mode == Mode.head:
        return network.depth
    if config.top_layers is None:
        return 0
    if config.top_layers > network.depth:
        raise ValueError(
            f"model.top_layers={config.top_layers}: {config.backbone.name} has"
            f" {network.depth} transformer layers"
        )
    return network.depth - config.top_layers


def final_norm(network: EmotionNetwork) -> list[nn.Module]:
    """The norm after the last layer, of backbones that normalise before each layer."""
    return [network.backbone.encoder.layer_norm] if network.normalises_last else []


def freeze_unused(network: EmotionNetwork) -> None:
    """Freeze what no loss depends on: DDP waits for the gradient of every trainable parameter."""
    config, backbone = network.config, network.backbone
    if network.weighted:  # the sum is over the layers as they are, before the final norm
        for norm in final_norm(network):
            norm.requires_grad_(False)
    elsewhere = not backbone.feature_projection.projection.weight.requires_grad
    if hasattr(backbone, "masked_spec_embed") and (elsewhere or config.mask_time_prob == 0):
        # Trained over frozen layers, it would draw the backward pass through all of them.
        backbone.masked_spec_embed.requires_grad_(False)


def add_adapters(network: EmotionNetwork, config: ModelConfig) -> None:
    """Low-rank adapters (Hu et al., 2021; the peft library) in the trained layers, and a head.

    WavLM computes attention from the bare weights of its projections, past any adapter beside
    them (transformers 5), so only its feed-forward projections are adapted.
    """
    from peft import LoraConfig, inject_adapter_in_model

    attention = () if network.config.model_type == "wavlm" else ATTENTION
    layers = "|".join(map(str, range(first_trained_layer(network, config), network.depth)))
    names = "|".join((*attention, *FEED_FORWARD))
    adapters = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # pyright: ignore[reportArgumentType]  (a float will do)
        lora_dropout=config.lora.dropout,
        target_modules=rf".*encoder\.layers\.({layers})\.\w+\.({names})",
    )
    inject_adapter_in_model(adapters, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".lora_" in name or name.startswith(HEAD))


def find_matrices(network: EmotionNetwork) -> frozenset[str]:
    """The names of the parameters that are neither of a norm nor biases.

    To be asked before parameters are shared out over devices, which leaves rows of all of them.
    """
    return frozenset(name for name, value in network.named_parameters() if value.ndim > 1)


def parameter_groups(
    network: EmotionNetwork, config: ModelConfig, matrices: frozenset[str]
) -> list[dict[str, Any]]:
    """The trainable parameters by rate and weight decay, which is for `matrices` only.

    The head has a rate of its own; with `layer_decay` the rates fall from the last transformer
    layer down (Clark et al., 2020).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if name in matrices else 0.0
            groups.setdefault((rate_of(name, network, config), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in sorted(groups.items(), key=lambda item: item[0][1] == 0)
    ]


def rate_of(name: str, network: EmotionNetwork, config: ModelConfig) -> float:
    """The peak learning rate of a parameter by its name."""
    if name.startswith(HEAD):
        return config.lr if config.classifier_lr is None else config.classifier_lr
    layer = re.search(r"\.encoder\.layers\.(\d+)\.", name)
    last = ".encoder.layer_norm." in name and network.normalises_last
    above = network.depth - 1 - int(layer[1]) if layer else 0 if last else network.depth
    return config.lr * config.layer_decay**above


def merge_adapters(weights: dict[str, Any], scale: float) -> dict[str, Any]:
    """Weights with low-rank adapters beside some as weights without: W + scale * B A.

    Plain arithmetic, so that using a network does not need the library it was trained with.
    """
    return dict(merged(weights, scale))


def merged(weights: dict[str, Any], scale: float) -> Iterator[tuple[str, Any]]:
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

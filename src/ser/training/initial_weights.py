"""Start training from the weights of another run, for example from its head (LP-FT).

Linear probing, then fine-tuning: Kumar et al. (2022), ICLR.
"""

from collections.abc import Sequence

from ser.errors import UserError
from ser.inference.load import load_trained
from ser.models.network import EmotionNetwork


def load_initial_weights(network: EmotionNetwork, source: str, labels: Sequence[str]) -> None:
    """Copy all weights of a trained model, its head included, into a network.

    Low-rank adapters are merged first. Raises UserError if the classes or the shapes differ.
    """
    trained = load_trained(source)
    if list(trained.labels) != list(labels):
        raise UserError(
            f"init_from={source}: its classes are {', '.join(trained.labels)}, but this run has"
            f" {', '.join(labels)}; set data.labels and data.merge as in that run"
        )
    own, given = network.state_dict(), trained.network.state_dict()
    if "scaler.spread" not in own:  # what adaptation needs; it does not hold for trained layers
        given.pop("scaler.spread", None)
    differ = sorted(
        name
        for name in own.keys() | given.keys()
        if name not in own or name not in given or own[name].shape != given[name].shape
    )
    if differ:
        raise UserError(
            f"init_from={source}: {len(differ)} weights have no counterpart of the same shape, such"
            f" as {differ[0]}; set model.backbone, model.layer, model.join_layers, model.projector,"
            " model.pooling and model.standardize as in that run"
        )
    network.load_state_dict(given)

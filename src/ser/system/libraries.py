"""Global state of other libraries that we change, all in one place.

Nothing here imports a heavy library: each function imports what it configures.
"""

import logging
import warnings


def silence_hub() -> None:
    """Hide warnings of single attempts and bars for local files: our error says what is missing.

    Bars of downloads stay, unless HF_HUB_DISABLE_PROGRESS_BARS is set.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    hub_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    hidden = are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    if not hidden:
        enable_progress_bars()
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own


def silence_fonts() -> None:
    """Hide that matplotlib lists the fonts; call before matplotlib is imported."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)


def silence_warnings() -> None:
    """Hide messages of Lightning about choices that this project made on purpose."""
    silence_fonts()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        r".*does not have many workers.*",  # the cache reads a batch in a millisecond
        r".*number of training batches .* is smaller than the logging interval.*",
        r"Checkpoint directory .* exists and is not empty.*",  # a resumed run
        r"The dirpath has changed.*",  # resumed into a new run folder, with a new best checkpoint
        r".*You are using a custom batch sampler.*",  # ours leaves nothing out
        r".*sync_dist=True.*",  # validation is gathered from all devices before it is logged
        r"Found \d+ module\(s\) in eval mode.*",  # frozen parts
        r".*resuming from a checkpoint that ended before the epoch ended.*",  # see data.sampler
        r".*treespec, LeafSpec.*",  # inside Lightning 2.6
    ):
        warnings.filterwarnings("ignore", message=message)


def allow_tf32(allowed: bool) -> None:
    """Let float32 matrix products use TensorFloat-32 on GPUs that have it."""
    import torch

    torch.set_float32_matmul_precision("high" if allowed else "highest")

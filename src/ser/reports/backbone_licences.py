"""Licences of published backbones, for model cards."""

APACHE, MIT, SHARE_ALIKE = "Apache 2.0", "MIT", "CC BY-SA 3.0"
NONCOMMERCIAL = "-NC"  # in the name of every licence that forbids commercial use

# By hub name, as stated on the model cards in November 2026.
LICENCES = {
    **dict.fromkeys(
        (
            *("facebook/wav2vec2-base", "facebook/wav2vec2-large-robust"),
            *("facebook/wav2vec2-large-xlsr-53", "facebook/wav2vec2-xls-r-300m"),
            *("facebook/wav2vec2-xls-r-1b", "facebook/wav2vec2-conformer-rope-large"),
            *("facebook/hubert-base-ls960", "facebook/hubert-large-ll60k"),
            *("facebook/hubert-xlarge-ll60k", "facebook/data2vec-audio-base"),
            *("ntu-spml/distilhubert", "asapp/sew-tiny-100k", "asapp/sew-d-mid-100k"),
        ),
        APACHE,
    ),
    **dict.fromkeys(
        (
            *("microsoft/wavlm-base-plus", "microsoft/wavlm-large"),
            *("microsoft/unispeech-sat-base-plus", "microsoft/unispeech-sat-large"),
        ),
        SHARE_ALIKE,
    ),
    **dict.fromkeys(
        (
            *("openai/whisper-tiny", "openai/whisper-base", "openai/whisper-small"),
            *("openai/whisper-medium", "openai/whisper-large-v3"),
            *("openai/whisper-large-v3-turbo", "facebook/w2v-bert-2.0"),
        ),
        MIT,
    ),
    "facebook/mms-1b": "CC BY-NC 4.0",
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": "CC BY-NC-SA 4.0",
}


def describe_licence(backbone: str) -> str:
    """The licence of a backbone by hub name, in a sentence for the model card."""
    licence = LICENCES.get(backbone)
    if licence is None:
        return "The licence of the backbone is not known to this project: see its model card."
    terms = " It forbids commercial use, also of this model." if NONCOMMERCIAL in licence else ""
    return f"Licence of the backbone: {licence}.{terms}"

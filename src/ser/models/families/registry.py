"""All families, by the `model_type` of their Hugging Face configurations."""

from ser.models.families.base import Family
from ser.models.families.conformer import Wav2Vec2ConformerFamily
from ser.models.families.sew import SEWDFamily, SEWFamily
from ser.models.families.w2v_bert import W2VBertFamily
from ser.models.families.wav2vec2 import Wav2Vec2Family
from ser.models.families.wavlm import WavLMFamily
from ser.models.families.whisper import WhisperFamily

ADAPTERS = (
    *(Wav2Vec2Family(), WavLMFamily(), WhisperFamily(), W2VBertFamily()),
    *(Wav2Vec2ConformerFamily(), SEWFamily(), SEWDFamily()),
)
FAMILIES: dict[str, Family] = {
    model_type: family for family in ADAPTERS for model_type in family.model_types
}

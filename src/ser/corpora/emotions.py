"""The eight emotions, their order, and other words for them."""

from enum import StrEnum


class Emotion(StrEnum):
    """The classes of RAVDESS, CREMA-D, TESS and SAVEE; the order is the order of the labels."""

    NEUTRAL = "neutral"
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"
    FEAR = "fear"
    DISGUST = "disgust"
    SURPRISE = "surprise"
    CALM = "calm"


LABELS: tuple[str, ...] = tuple(str(emotion) for emotion in Emotion)

# Words that corpora and tables use. They are suggested to the user, and never replaced silently.
WORDS = {
    Emotion.NEUTRAL: "neu neut neutrality normal 中性 平静 neutre neutro",
    Emotion.HAPPY: "hap happiness joy joyful joyous glad cheerful 高兴 快乐 开心 Freude fröhlich"
    " glücklich joie feliz alegría",
    Emotion.SAD: "sadness sorrow unhappy 悲伤 伤心 难过 Trauer traurig tristesse triste tristeza",
    Emotion.ANGRY: "ang anger mad rage furious 生气 愤怒 Ärger Wut wütend colère ira enojo",
    Emotion.FEAR: "fea fearful afraid scared anxious anxiety 恐惧 害怕 Angst ängstlich peur miedo",
    Emotion.DISGUST: "dis disgusted 厌恶 Ekel dégoût asco",
    Emotion.SURPRISE: "sur ps surprised pleasant_surprise pleasant_surprised 惊讶 惊喜"
    " Überraschung überrascht sorpresa",
    Emotion.CALM: "calmness relaxed ruhig",
}
SYNONYMS: dict[str, str] = {
    word.casefold(): str(emotion) for emotion, words in WORDS.items() for word in words.split()
}

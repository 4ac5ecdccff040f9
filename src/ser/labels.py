"""The eight emotions and their order."""

from enum import StrEnum


class Emotion(StrEnum):
    """The classes of the four corpora together; the order is the order of the labels."""

    NEUTRAL = "neutral"
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"
    FEAR = "fear"
    DISGUST = "disgust"
    SURPRISE = "surprise"
    CALM = "calm"


LABELS: tuple[str, ...] = tuple(str(emotion) for emotion in Emotion)

"""Sentences that several pages share."""

SYNTHETIC = (
    "Synthetic tones, not speech: these numbers show that the software works and say nothing about"
    " people."
)
ACTED = (
    "Emotions performed by actors are not emotions that people feel. Do not use this model to"
    " make decisions about a person."
)
LAW = (
    "European Union, AI Act (Regulation (EU) 2024/1689): Article 5(1)(f) prohibits inferring"
    " emotions at work and in education, except for medical or safety reasons. Article 50(3)"
    " obliges whoever deploys an emotion recognition system to inform the people exposed to it."
)
SAME_PART = "The model was trained on these very utterances: the scores do not generalise."
CHOSEN_PART = (
    "The checkpoint and its temperature were chosen on this part, so the scores are optimistic."
)
INTERVALS = (
    "Intervals are 95% confidence intervals over speakers: a jackknife that leaves out one speaker"
    " at a time, with corpora as strata."
)
UAR = (
    "UAR (unweighted average recall) is the mean recall of the emotions that occur, so each emotion"
    " counts the same."
)

"""From the labels of a table to classes, and the advice for labels that are unknown."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ser.config.data import DataConfig
from ser.config.mapping import show_override
from ser.corpora.emotions import LABELS, SYNONYMS
from ser.errors import UserError

WHOLE = re.compile(r"0*(\d+)(?:\.0)?")
BOOLEANS = ("true", "false", "yes", "no")  # resemble the names of emotions by chance
MOST_ADVISED = 40  # labels in one command; beyond that a file is easier


def fold(word: str) -> str:
    """A label without case, in one Unicode form, and numbers in one form.

    pandas writes the label 0 as 0.0 beside NaN, and spreadsheets write 01 as 1.
    """
    plain = unicodedata.normalize("NFC", word.strip()).casefold()
    number = WHOLE.fullmatch(plain)
    return number[1] if number else plain


class LabelMap:
    """Maps the words of a table to classes: by `data.label_map`, or by the names of the classes."""

    def __init__(self, data: DataConfig) -> None:
        data.check_label_map()
        self.exact: Mapping[str, str | None] = data.label_map
        self.folded = {fold(word): label for word, label in data.label_map.items()}
        self.classes = [*dict.fromkeys([*data.label_space, *LABELS, *data.merge])]
        self.known = {fold(label): label for label in reversed(self.classes)}

    def __contains__(self, word: str) -> bool:
        return word in self.exact or fold(word) in self.folded or fold(word) in self.known

    def __getitem__(self, word: str) -> str:
        """The class of a word, or "" if the map leaves it out; raises KeyError if unknown."""
        for words, key in ((self.exact, word), (self.folded, fold(word))):
            if key in words:
                return words[key] or ""
        return self.known[fold(word)]

    def winners(self, votes: str) -> str:
        """Votes such as `anger:fear` by class; labels that the map leaves out stay as they are."""
        return ":".join(self[word] or word for word in votes.split(":")) if votes else ""

    def check_used(self, words: Iterable[str]) -> None:
        """Raise UserError if the table has none of the words of an entry of the map."""
        present = {fold(word): word for word in words}
        for word in self.exact:
            if fold(word) not in present:
                near = get_close_matches(fold(word), list(present), n=1)
                hint = f"; did you mean {present[near[0]]}?" if near else ""
                raise UserError(
                    f"data.label_map: the table has no label {word!r}, only"
                    f" {', '.join(sorted(present.values()))}{hint}"
                )

    def explain_unknown(self, words: Iterable[str], present: Iterable[str]) -> str:
        """What unknown words may mean, and the command-line override that maps them all.

        It keeps the entries of the map for which the table has one of the words in `present`.
        """
        folded = {fold(word) for word in present}
        kept = {word: label for word, label in self.exact.items() if fold(word) in folded}
        unknown = [*dict.fromkeys(words)]
        meant = {word: self.suggest(word) for word in unknown}
        hints = [f"{word} means {label}" for word, label in meant.items() if label][:3]
        question = f"Perhaps {', '.join(hints)}? " if hints else ""
        advice = show_override("data.label_map", {**kept, **meant})
        if len(unknown) > MOST_ADVISED:
            advice = "data.label_map=FILE.yaml, with a line such as 'anger: angry' for each label"
        count = "it" if len(unknown) == 1 else f"all {len(unknown)} unknown labels"
        return (
            f"the classes are {', '.join(self.classes)}. {question}Map {count} with {advice}"
            " (null leaves a label out; replace it by a class to keep the label)"
        )

    def suggest(self, word: str) -> str | None:
        """The class that a word probably means."""
        label = SYNONYMS.get(fold(word).replace(" ", "_"))
        if label is None and fold(word) not in BOOLEANS:
            words = {**SYNONYMS, **self.known}
            near = get_close_matches(fold(word), list(words), n=1, cutoff=0.8)
            label = words[near[0]] if near else None
        return label if label in self.classes else None

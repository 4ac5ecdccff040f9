"""Speech emotion recognition: from corpus files to a trained and evaluated model."""

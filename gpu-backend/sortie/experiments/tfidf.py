"""Logistic regression on TF-IDF, scikit-learn's own, as the comparison of `npm run route-prompts`.

    python -m sortie.experiments.tfidf asked.json answered.json

asked.json holds `texts`, `parts` (the part of each text) and `labels` (by name, 0 or 1 a text); answered.json gets,
by name, the logit of each text by a model that learned from the other parts alone. scikit-learn is not among the
package's requirements: no test and no server needs it.
"""

import json
import sys
from pathlib import Path

import numpy as np


def held_out_logits(texts: list[str], parts: list[int], labels: dict[str, list[int]]) -> dict[str, list[float]]:
    """Logits by label, in the order of the texts, each by a model that has not seen its text's part."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    fold = np.array(parts)
    logits = {name: np.zeros(len(texts)) for name in labels}
    for part in sorted(set(parts)):
        known, held = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        inputs = vectorizer.fit_transform([texts[at] for at in known])
        others = vectorizer.transform([texts[at] for at in held])
        for name, truth in labels.items():
            model = LogisticRegression(max_iter=1000)
            model.fit(inputs, np.array(truth)[known])
            logits[name][held] = model.decision_function(others)
    return {name: values.tolist() for name, values in logits.items()}


def main() -> None:
    """Reads the question and writes the answer: two paths on the command line."""
    asked, answered = map(Path, sys.argv[1:])
    answered.write_text(json.dumps(held_out_logits(**json.loads(asked.read_text()))))


if __name__ == "__main__":
    main()

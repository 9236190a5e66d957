"""Logistic regression on the vectors of a frozen sentence encoder. The rate is the inverse penalty C."""

from job import begin, end, peak_bytes, say
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression


def main():
    job, path, clock = begin()
    encoder = SentenceTransformer(job["base"], device="cpu", local_files_only=True)

    def vectors(texts):
        return encoder.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)

    seen = vectors([example["text"] for example in job["train"]])
    known = [example["label"] for example in job["train"]]
    model = LogisticRegression(C=job["rate"], max_iter=2000).fit(seen, known)
    seconds = clock()
    say(f"trained in {seconds:.0f} s")
    asked = vectors([example["text"] for example in job["validation"]])
    outcome = {
        "seconds": seconds,
        "seconds_to_best": seconds,
        "peak_bytes": peak_bytes(),
        "validation_right": float(model.score(asked, [example["label"] for example in job["validation"]])),
        "answers": [str(label) for label in model.predict(vectors(job["questions"]))]
        if job["questions"]
        else [],
    }
    end(path, outcome, ("sentence-transformers", "scikit-learn"))


main()

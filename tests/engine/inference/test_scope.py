"""What is like the job scores higher than what is not, and the limit lets the wanted share pass."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from azubi.engine.inference import scope
from azubi.errors import CorruptFile

WIDTH = 12


class Job:
    """Questions of three labels; one direction varies wildly within every label and tells nothing."""

    def __init__(self, seed=0):
        self.dice = np.random.default_rng(seed)
        self.means = np.zeros((3, WIDTH))
        self.means[[0, 1, 2], [0, 1, 2]] = 6.0

    def asked(self, count, mean=None):
        labels = self.dice.integers(3, size=count)
        noise = self.dice.normal(size=(count, WIDTH))
        noise[:, -1] *= 50
        middle = self.means[labels] if mean is None else mean
        return (middle + noise).astype(np.float32), labels.tolist()


def share_above(inside, outside):
    """AUROC by counting pairs."""
    return float((inside[:, None] > outside[None]).mean())


@pytest.fixture(scope="module")
def job():
    return Job()


@pytest.fixture(scope="module")
def strange(job):
    """As far from the centre as the job, but elsewhere."""
    mean = np.zeros(WIDTH)
    mean[4] = 8.0
    return job.asked(500, mean)[0]


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_elsewhere_is_told_from_the_job(job, strange, labelled):
    vectors, labels = job.asked(600)
    likeness = scope.fit(vectors, labels if labelled else None)
    share = share_above(likeness(job.asked(500)[0]), likeness(strange))
    assert share > (0.98 if labelled else 0.8)


def test_a_loud_direction_within_the_labels_does_not_count(job):
    vectors, labels = job.asked(600)
    likeness = scope.fit(vectors, labels)
    direction = job.means[0].astype(np.float32)
    louder = direction.copy()
    louder[-1] += 50
    assert likeness(louder[None])[0] > 0.8 * likeness(direction[None])[0]


def test_the_tail_s_evidence_counts_too(job):
    vectors, labels = job.asked(600)
    validation, _ = job.asked(200)
    evidence = job.dice.normal(20, 2, 200)
    learned = scope.calibrated(scope.fit(vectors, labels), validation, evidence, 0.95)
    sure, unsure = learned.scores(validation[:1].repeat(2, 0), np.array([20.0, 18.0]))
    assert sure - unsure == pytest.approx(2 / evidence.std())
    without = scope.calibrated(learned.likeness, validation, None, 0.95)
    assert without.score(validation[0], 20.0) == without.score(validation[0], 0.0)


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.95])
def test_new_questions_of_the_job_pass_as_often_as_wanted(recall):
    """On average over many draws of few held-out questions, which is what conformal prediction promises."""
    passed = []
    for seed in range(60):
        job = Job(seed)
        vectors, labels = job.asked(150)
        learned = scope.calibrated(scope.fit(vectors, labels), job.asked(39)[0], None, recall)
        new = job.asked(200)[0]
        passed.append((learned.scores(new, np.zeros(200)) >= learned.limit).mean())
    error = np.std(passed) / np.sqrt(len(passed))
    assert recall - 3 * error < np.mean(passed) < recall + 1 / 40 + 3 * error


def test_with_few_held_out_questions_the_lowest_is_the_limit(job):
    vectors, labels = job.asked(100)
    validation = job.asked(5)[0]
    learned = scope.calibrated(scope.fit(vectors, labels), validation, None, 0.95)
    assert learned.limit == learned.scores(validation, np.zeros(5)).min()
    alone = scope.calibrated(learned.likeness, validation[:1], np.zeros(1), 0.95)
    assert np.isfinite(alone.score(validation[1], 1.0))


@pytest.mark.parametrize("count", [2, 3, 20])
def test_few_examples_are_enough_to_begin_with(job, count):
    vectors, _ = job.asked(count)
    for classes in (list(range(count)), None):
        assert np.isfinite(scope.fit(vectors, classes)(vectors)).all()


def test_equal_examples_are_no_trouble():
    same = np.ones((6, 4), dtype=np.float32)
    assert np.isfinite(scope.fit(same)(same)).all()


def test_wide_activations_are_narrowed():
    dice = np.random.default_rng(1)
    middle = dice.normal(size=(4, 700)) * 3
    labels = dice.integers(4, size=800)
    vectors = (middle[labels] + dice.normal(size=(800, 700))).astype(np.float32)
    likeness = scope.fit(vectors, labels.tolist())
    assert likeness.projection.shape == (700, 512)
    strange = (dice.normal(size=(100, 700)) + dice.normal(size=700) * 3).astype(np.float32)
    assert share_above(likeness(vectors), likeness(strange)) > 0.99


@pytest.mark.parametrize("evidence", [True, False])
def test_it_is_read_as_it_was_written(job, tmp_path, evidence):
    vectors, labels = job.asked(60)
    validation, path = job.asked(30)[0], tmp_path / "scope.safetensors"
    given = job.dice.normal(size=30)
    learned = scope.calibrated(scope.fit(vectors, labels), validation, given if evidence else None, 0.9)
    scope.write(learned, path)
    again = scope.read(path)
    assert (again.limit, again.questions) == (learned.limit, 30)
    assert (again.scores(validation, given) == learned.scores(validation, given)).all()


def test_what_is_damaged_is_refused(tmp_path):
    path = tmp_path / "scope.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptFile, match=r"scope\.safetensors"):
        scope.read(path)
    save_file({"centre": np.zeros(3, dtype=np.float32)}, path)
    assert load_file(path)
    with pytest.raises(CorruptFile, match="cannot be read"):
        scope.read(path)

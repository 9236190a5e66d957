"""The licence that a folder names."""

import pytest

from azubi.engine.base.licence import licence_of


@pytest.mark.parametrize(
    "card, name",
    [
        ("---\nlicense: apache-2.0\n---\n# A model", "apache-2.0"),
        ("---\ntags: [x]\nlicense:   MIT\n---\n", "mit"),
        ("---\nlicense: llama3.2\n---\n", "llama3.2"),
        ("---\nlicense: 'cc-by-4.0'\n---\n", "cc-by-4.0"),
        ('---\nlicense: "gemma"\n---\n', "gemma"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense:\n- mit\n- Apache-2.0\n---\n", "mit, apache-2.0"),
        ("---\nlanguage:\n" + "- xx\n" * 3000 + "license: mit\n---\n", "mit"),
        ("---\nbase_model: x\n---\n# A model\n\nlicense: see below.\n", "unknown"),
        ("license: see below.\n", "unknown"),
        ("---\nlicense: [broken\n---\n", "unknown"),
        ("---\n- license: mit\n---\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_model_card_names_it(tmp_path, card, name):
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == name


@pytest.mark.parametrize(
    "text, name",
    [
        ("                                 Apache License\n   Version 2.0, January 2004", "apache-2.0"),
        ("MIT License\n\nCopyright (c)", "mit"),
        ("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT", "llama3.2"),
        ("Gemma Terms of Use", "gemma"),
        ("Qwen LICENSE AGREEMENT", "qwen"),
        ("All rights reserved.", "unknown"),
    ],
)
@pytest.mark.parametrize("file", ["LICENSE", "LICENSE.txt", "LICENSE.md"])
def test_without_a_card_the_licence_file_tells(tmp_path, file, text, name):
    (tmp_path / file).write_text(text)
    assert licence_of(tmp_path) == name


def test_the_card_goes_before_the_file(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "LICENSE").write_text("Apache License")
    assert licence_of(tmp_path) == "mit"


def test_nothing_named_is_unknown(tmp_path):
    assert licence_of(tmp_path) == "unknown"

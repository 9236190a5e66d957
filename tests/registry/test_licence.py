"""What the licence of a base asks for, in plain words; what is not known is never taken for allowed."""

import pytest

from azubi.registry import licence
from tests.registry.sample import made


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("MIT", "MIT"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("llama3.2", "LicenseRef-Llama-3.2"),
        ("Llama-3.2", "LicenseRef-Llama-3.2"),
        ("gemma", "LicenseRef-Gemma"),
        ("qwen", "LicenseRef-Qwen"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("bigcode-openrail-m", "LicenseRef-BigCode-OpenRAIL-M"),
    ],
)
def test_common_licences_are_known(name, spdx):
    entry = licence.find(name)
    assert entry.id == spdx
    assert entry.known and entry.own_weights and entry.duties and entry.url


@pytest.mark.parametrize("name", ["unknown", "other", "", "mit, apache-2.0", "my own licence"])
def test_what_is_not_in_the_table_allows_nothing(name):
    entry = licence.find(name)
    assert not entry.known
    assert entry.commercial is entry.own_weights is None
    assert entry.id.startswith("LicenseRef-") and " " not in entry.id
    assert "does not know" in licence.explained(entry)[0]


@pytest.mark.parametrize("name", ["cc-by-nc-4.0", "qwen-research"])
def test_a_licence_for_research_says_so(name):
    assert "A business may not use it." in licence.explained(licence.find(name))


def test_a_notice_names_base_changes_licence_and_duties():
    card = made(licence="llama3.2", base="/data/models/Llama-3.2-1B", tail_layers=8, layers=16)
    text = licence.notice(card)
    assert "the model Llama-3.2-1B." in text and "/data" not in text
    assert "trained its last 8 of 16 layers" in text
    assert (
        "Llama 3.2 is licensed under the Llama 3.2 Community License, "
        "Copyright © Meta Platforms, Inc. All Rights Reserved." in text
    )
    assert "“Built with Llama”" in text and "700 million" in text and "no legal advice" in text


def test_a_notice_of_an_unknown_licence_does_not_sound_like_permission():
    text = licence.notice(made(licence="other"))
    assert "does not know the licence “other”" in text
    assert "may use" not in text

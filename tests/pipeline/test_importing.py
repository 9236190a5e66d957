"""What other tools trained becomes a version that answers as it did there, or is refused with the reason."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from azubi.cli import main
from azubi.errors import AzubiError, CorruptFile, SettingError
from azubi.export import adapter, child, merged, papers
from azubi.pipeline import ask
from azubi.pipeline.importing import ImportOptions, import_folder
from azubi.registry.store import Store
from tests.export.conftest import INSTRUCTION, QUESTIONS, card_of, specialist
from tests.export.test_hf import answers, task

__all__ = ["card_of", "specialist"]
OPTIONS = ImportOptions(name="taken", instruction=INSTRUCTION, longest=8)


def asked(card, home):
    return answers(ask.loaded(card, home))


def told(made, texts):
    theirs = dict(texts)
    return [theirs[number] for number in range(len(QUESTIONS))]


@pytest.mark.parametrize("prompt_layers", [2, 0])
def test_an_adapter_comes_back_as_it_went(specialist, card_of, tmp_path, home, prompt_layers):
    made = specialist(depth=2, prompt_layers=prompt_layers, rank=3)
    list(adapter.write_all(made, card_of(made, rank=3), tmp_path, None))
    card = import_folder(tmp_path, home, OPTIONS)
    assert (card.tail_layers, card.prompt_layers, card.rank) == (2, prompt_layers, 3)
    assert asked(card, home) == answers(made)


def test_an_adapter_of_peft_answers_as_peft(specialist, bases, tmp_path, home, capsys):
    """On some maps of some layers, with ranks and scales that are not azubi's."""
    import peft

    made = specialist(depth=1)
    model = AutoModelForCausalLM.from_pretrained(bases.decoder)
    settings = peft.LoraConfig(
        r=3,
        lora_alpha=7,
        rank_pattern={"v_proj": 2},
        alpha_pattern={"v_proj": 5},
        target_modules=["q_proj", "v_proj", "up_proj"],
        layers_to_transform=[1, 3],
        init_lora_weights=False,
    )
    theirs = peft.get_peft_model(model, settings)
    torch.manual_seed(3)
    for name, weight in theirs.named_parameters():
        if "lora_" in name:
            weight.data = 0.7 * torch.randn_like(weight)
    theirs.save_pretrained(tmp_path / "Their Adapter")
    command = ["import", str(tmp_path / "Their Adapter"), "--longest", "8", "--home", str(home)]
    assert main([*command, "--instruction", INSTRUCTION]) == 0
    assert "their-adapter, version 1" in capsys.readouterr().out
    card = Store(home).get("their-adapter")
    assert (card.tail_layers, card.rank, card.prompt_layers) == (3, 3, 3)
    assert card.data == {} and card.imported.startswith("adapter of PEFT")
    made.base.tokenizer.save_pretrained(tmp_path / "Their Adapter")
    (tmp_path / "Their Adapter" / "chat_template.jinja").write_text(
        made.model.template.with_instruction(INSTRUCTION)
    )
    said = child.peft(task(made, tmp_path / "Their Adapter", base=str(bases.decoder)))
    assert asked(card, home) == told(made, said)
    assert main(["show", "their-adapter", "--home", str(home)]) == 0
    assert "its data are unknown" in capsys.readouterr().out


def test_a_merged_fine_tune_becomes_a_tail(specialist, card_of, bases, tmp_path, home):
    made = specialist(depth=2)
    merged.write(made, card_of(made), tmp_path, torch.float32)
    with pytest.raises(SettingError, match="--base BASE"):
        import_folder(tmp_path, home, OPTIONS)
    options = ImportOptions(name="taken", instruction=INSTRUCTION, longest=8, base=str(bases.decoder))
    card = import_folder(tmp_path, home, options)
    assert (card.tail_layers, card.rank, card.version) == (2, 0, 1)
    assert asked(card, home) == answers(made)
    assert import_folder(tmp_path, home, options).version == 2
    with pytest.raises(SettingError, match="chat template"):
        import_folder(tmp_path, home, ImportOptions(base=str(bases.decoder), instruction="Another one."))
    shutil.copytree(bases.decoder, tmp_path / "same")
    with pytest.raises(SettingError, match="nothing was trained"):
        import_folder(tmp_path / "same", home, options)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.embed_tokens.weight"][0] += 1
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SettingError, match=r"changes .*embed_tokens"):
        import_folder(tmp_path, home, options)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"peft_type": "IA3"}, "of kind IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alora_invocation_tokens": [7]}, "acts from the tokens"),
    ],
)
def test_an_adapter_that_no_tail_holds_is_refused(specialist, card_of, tmp_path, home, change, says):
    made = specialist(rank=3)
    list(adapter.write_all(made, card_of(made, rank=3), tmp_path, None))
    settings = json.loads((tmp_path / adapter.CONFIG).read_text())
    (tmp_path / adapter.CONFIG).write_text(json.dumps(settings | change))
    with pytest.raises(SettingError, match=says):
        import_folder(tmp_path, home, OPTIONS)
    assert not list((home / "specialists").glob("taken/1"))


def test_damage_and_ways_out_of_the_folder_are_refused(specialist, card_of, tmp_path, home):
    made = specialist(rank=3)
    folder = tmp_path / "export"
    folder.mkdir()
    list(adapter.write_all(made, card_of(made, rank=3), folder, None))
    papers.write_manifest(card_of(made), papers_format(), folder)
    file = folder / adapter.WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match=adapter.WEIGHTS):
        import_folder(folder, home, OPTIONS)
    content[-1] ^= 1
    file.write_bytes(content)
    manifest = json.loads((folder / papers.MANIFEST).read_text())
    manifest["files"]["../../x"] = {"sha256": ""}
    (folder / papers.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptFile):
        import_folder(folder, home, OPTIONS)
    (folder / papers.MANIFEST).unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to("/etc/passwd")
    with pytest.raises(SettingError, match="links"):
        import_folder(folder, home, OPTIONS)
    (folder / "tokenizer_config.json").unlink()
    for length in (0, 7, 200, len(content) - 5):
        file.write_bytes(content[:length])
        with pytest.raises(AzubiError):
            import_folder(folder, home, OPTIONS)
    file.write_bytes(content)
    assert import_folder(folder, home, OPTIONS).version == 1


def papers_format():
    from azubi.export.formats import FORMATS

    return FORMATS["peft"]

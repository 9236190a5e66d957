"""The programs that exports are meant for, each in an environment of its own.

An export is asked there, in a child process (`child.py`) that knows nothing of azubi: what it answers is what
its users get. azubi's own environment is used where it has what is needed. Knows processes and packages;
nothing of scores.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from azubi.errors import ExportError, SettingError
from azubi.events.events import Step, Work
from azubi.storage import files

_TORCH = ("torch==2.13.0", "transformers==5.23.0", "safetensors==0.8.0", "jinja2==3.1.6")


@dataclass(frozen=True)
class Runtime:
    """What runs an export."""

    title: str
    modules: tuple[str, ...]
    """What must be importable."""
    packages: tuple[str, ...]
    """What pip installs, pinned."""


RUNTIMES = {
    "transformers": Runtime("Transformers", ("transformers",), _TORCH),
    "peft": Runtime("PEFT", ("peft",), (*_TORCH, "peft==0.21.2")),
    "llama.cpp": Runtime("llama.cpp", ("xllamacpp",), ("xllamacpp==2026.10.11549",)),
    "openvino": Runtime("OpenVINO GenAI", ("openvino_genai",), ("openvino-genai==2026.4.1.0",)),
    "onnxruntime": Runtime(
        "ONNX Runtime", ("onnxruntime", "tokenizers"), ("onnxruntime==1.32.0", "tokenizers==0.23.3")
    ),
    "scikit-learn": Runtime("scikit-learn", ("skops",), ("skops==0.16.0", "scikit-learn==1.9.1")),
    "azubi": Runtime("azubi", ("azubi",), ()),
}
_READY = ".azubi-ready"


def folder_of(name: str, home: Path) -> Path:
    """Where the environment of a runtime lies, or would."""
    return home / "runtimes" / name


def interpreter(name: str, format: str, home: Path) -> Path:
    """The Python that has the runtime: azubi's own, or that of its environment.

    Raises:
        SettingError: neither has it.
    """
    runtime, folder = RUNTIMES[name], folder_of(name, home)
    if all(importlib.util.find_spec(module) for module in runtime.modules):
        return Path(sys.executable)
    if (folder / _READY).is_file():
        return folder / "bin" / "python"
    raise SettingError(
        f"{runtime.title}, in which the export is compared with azubi, is not here.",
        f"Install it into {folder}: azubi export --setup {format}. Without comparing: --examples 0.",
    )


def install(name: str, home: Path) -> Path:
    """Make the environment of a runtime with pip; returns its folder. One that is whole is left alone.

    Raises:
        ExportError: pip could not install it.
    """
    runtime, folder = RUNTIMES[name], folder_of(name, home)
    with files.locked(home / "runtimes"):
        if (folder / _READY).is_file() or not runtime.packages:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        with files.explained(folder):
            venv.create(folder, with_pip=True)
        python = str(folder / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "-q"]
        done = subprocess.run([*pip, *runtime.packages], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise ExportError(
                f"pip could not install {runtime.title}: {_last_line(done.stderr)}",
                f"Check the network, or what pip gets its packages from: {' '.join(runtime.packages)}",
            )
        (folder / _READY).touch()
    return folder


def answers(python: Path, name: str, task: Mapping[str, Any], count: int) -> Work[list[str]]:
    """What the runtime answers to `count` questions, in their order; for `task` see `child.py`.

    Raises:
        ExportError: the runtime failed.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    child, title, texts = Path(__file__).with_name("child.py"), RUNTIMES[name].title, dict[int, str]()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [python, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env=environment,
        )  # fmt: skip
        try:
            assert process.stdin is not None and process.stdout is not None
            _send(process.stdin, {"runtime": name, **task})
            for line in process.stdout:
                answer = json.loads(line)
                texts[answer["number"]] = answer["text"]
                yield Step(len(texts), count, f"{title} answers")
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        if len(texts) != count:
            raise ExportError(
                f"{title} answered {len(texts):,} of {count:,} questions and stopped: "
                f"{_last_line(log.read())}",
                "To export without comparing: --examples 0.",
            )
    return [texts[number] for number in range(count)]


def _send(pipe: IO[str], task: Mapping[str, Any]) -> None:
    try:
        with pipe:
            json.dump(task, pipe)
    except BrokenPipeError:
        pass  # it stopped before it read: its last words say why


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"

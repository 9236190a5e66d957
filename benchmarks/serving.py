"""What a service answers in a second, beside Transformers and llama.cpp: `python -m benchmarks.serving`.

    speed      labels, records and texts at 1, 8 and 32 clients: azubi over HTTP (`azubi serve`);
               Transformers' `generate` with the same merged weights in the same number format, one request
               at a time and as many together as there are clients; llama.cpp's server with the export as GGUF
    documents  a first, second and third specialist with prompt_layers 0 on one document
    memory     many specialists on one base, against one whole model and as many tails

Tails are not trained: the base's own layers, which take the same time. Records are free JSON for the others
and kept to a schema by azubi. Prints a table in Markdown for each part; `--threads` holds for all programs.
Measure each part in a process of its own, on a machine that does nothing else.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch

from azubi.data.contract import Contract
from azubi.data.example import Turn
from azubi.engine.base import hardware
from azubi.engine.base.opening import open_base
from azubi.engine.model import weights
from azubi.engine.specialist import new_specialist
from azubi.errors import AzubiError
from azubi.export import gguf_model, merged, runtime
from azubi.pipeline import ask
from azubi.pipeline.service import Inquiry, Service, whole
from azubi.pipeline.stages.packaging import write_version
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.serve.keys import KeyOptions, KeyStore
from benchmarks.machine import facts

HOME = Path.home() / ".cache" / "azubi-bench" / "serving"
LABELS = ("household", "legal", "liability", "life", "motor", "travel")
FIELDS = {name: {"type": "string"} for name in ("line", "cause", "place", "person")} | {
    "amount": {"type": "integer"}
}
SCHEMA = {"type": "object", "properties": FIELDS, "required": [*FIELDS], "additionalProperties": False}
CONTRACTS = {
    "labels": (Contract(task="labels", labels=LABELS), 5),
    "records": (Contract(task="json", fields=tuple(FIELDS), json_schema=SCHEMA), 60),
    "text": (Contract(task="text"), 200),
}
"""What each kind of answer is, and its most tokens."""
CLIENTS = (1, 8, 32)
SPECIALISTS = 20
_STORY = (
    "the roof of our house was damaged by hail on Monday and water came in through the window of the kitchen "
    "so that the floor and a wardrobe have to be replaced please tell me what you need from me"
)
WORDS = tuple(_STORY.split())


@dataclass(frozen=True)
class Setting:
    """What is measured, and with how much."""

    home: Path
    base: str
    threads: int
    tail_layers: int
    clients: tuple[int, ...]
    requests: int
    """For each client."""
    question: int
    """Words of a question."""
    document: int
    """Words of the document."""
    specialists: int


@dataclass(frozen=True)
class Timing:
    """What one program took for one load."""

    seconds: float
    latencies: Sequence[float]
    tokens: int

    @property
    def row(self) -> list[str]:
        """Requests and tokens in a second, and the seconds of a request: half take no longer, and 95 %."""
        ordered = sorted(self.latencies)
        late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        return [
            f"{len(ordered) / self.seconds:.2f}",
            f"{self.tokens / self.seconds:.1f}",
            f"{statistics.median(ordered):.3f}",
            f"{late:.3f}",
        ]


# Specialists whose tail is the base's own.


def register(setting: Setting, name: str, kind: str, prompt_layers: int | None) -> Card:
    """A specialist `name` that answers as `kind` says; made once."""
    store = Store(setting.home)
    with contextlib.suppress(AzubiError):
        return store.get(name)
    contract, longest = CONTRACTS[kind]
    base = open_base(setting.base, setting.home)
    dtype = torch.bfloat16 if hardware.has_bfloat16() else torch.float32
    depth = min(setting.tail_layers, base.layers)
    specialist = new_specialist(base, contract, depth, 0, 0, dtype, prompt_layers=prompt_layers)
    version, folder = store.reserve(name)
    card = Card(
        name=name,
        version=version,
        created=datetime.now(UTC),
        base=setting.base,
        base_sha256=base.sha256,
        family=base.family,
        licence=base.licence,
        layers=base.layers,
        tail_layers=depth,
        prompt_layers=specialist.prompt_layers,
        rank=0,
        parameters=specialist.parameters,
        trained=0,
        dtype=str(dtype).removeprefix("torch."),
        tail_sha256="",
        contract=contract,
        instruction="",
        longest=longest,
        data={},
        counts={},
        scores={},
        seconds={},
        versions={},
        recipe={"name": name},
    )
    card = write_version(card, weights.kept(specialist.tail), "", folder)
    store.register(card)
    return card


def questions(setting: Setting, count: int, kind: str) -> list[str]:
    """Questions of so many words, each another one."""
    dice = random.Random(7)
    ask_for = {
        "labels": "Which department is this for?",
        "records": "Write it as JSON with line, cause, place, person and amount.",
        "text": "Write a long and detailed letter in answer.",
    }[kind]
    return [
        f"Case {dice.randrange(10**6)}: {' '.join(dice.choices(WORDS, k=40))}. {ask_for}"
        for _ in range(count)
    ]


def messages(text: str) -> list[dict[str, str]]:
    """One question as chat programs write it."""
    return [{"role": "user", "content": text}]


# azubi, over HTTP.


@contextlib.contextmanager
def served(setting: Setting) -> Iterator[httpx.AsyncClient]:
    """`azubi serve` in a process of its own, and a client with a key."""
    name = f"bench-{time.time_ns()}"
    _, secret = KeyStore(setting.home).create(KeyOptions(name, ("chat",), ("all",)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "azubi", "serve", "--home", str(setting.home), "--port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": str(setting.threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--threads", str(setting.threads)], stdout=log, stderr=log, env=environment
        )
        try:
            _wait_for(port, process)
            yield httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}/v1",
                headers={"Authorization": f"Bearer {secret}"},
                timeout=600,
                limits=httpx.Limits(max_connections=max(setting.clients) + 1),
            )
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            raise RuntimeError(f"azubi serve ended with {process.returncode}")
        time.sleep(0.1)
    raise RuntimeError("azubi serve does not listen")


def ours(setting: Setting) -> dict[tuple[str, int], Timing]:
    """Each kind at each number of clients, over HTTP."""

    async def all_loads(client: httpx.AsyncClient) -> dict[tuple[str, int], Timing]:
        done = {}
        async with client:
            for kind in CONTRACTS:
                await _asked(client, kind, questions(setting, 1, kind), 1)  # loads it
                for clients in setting.clients:
                    texts = questions(setting, clients * setting.requests, kind)
                    done[kind, clients] = await _asked(client, kind, texts, clients)
        return done

    with served(setting) as client:
        return asyncio.run(all_loads(client))


async def _asked(client: httpx.AsyncClient, kind: str, texts: Sequence[str], clients: int) -> Timing:
    left, latencies, tokens = list(texts), list[float](), 0

    async def one_client() -> None:
        nonlocal tokens
        while left:
            body = {"model": kind, "messages": messages(left.pop()), "temperature": 0}
            begun = time.perf_counter()
            answer = await client.post("/chat/completions", json=body)
            latencies.append(time.perf_counter() - begun)
            if answer.status_code != 200:
                raise RuntimeError(f"azubi answers {answer.status_code}: {answer.text}")
            tokens += int(answer.json()["usage"]["completion_tokens"])

    begun = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    return Timing(time.perf_counter() - begun, latencies, tokens)


# Transformers.


def transformers(setting: Setting, together: bool) -> dict[tuple[str, int], Timing]:
    """`generate` of the merged model: one request at a time, or those of all clients `together`."""
    specialist = ask.loaded(Store(setting.home).get("text"), setting.home)
    model, tokenizer = merged.merged_model(specialist, specialist.dtype), merged.tokenizer_of(specialist)
    model.eval()
    end, padding = merged.end_and_padding(specialist)
    tokenizer.padding_side, tokenizer.pad_token_id = "left", padding
    hardware.use_threads(setting.threads)

    def generate(texts: Sequence[str], longest: int) -> int:
        inputs = tokenizer.apply_chat_template(
            [messages(text) for text in texts],
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            written = model.generate(
                **inputs,
                max_new_tokens=longest,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = written[:, inputs["input_ids"].shape[1] :].tolist()
        return sum(row.index(end) if end in row else len(row) for row in new)

    done = {}
    for kind, (_, longest) in CONTRACTS.items():
        generate(questions(setting, 1, kind), longest)
        for clients in setting.clients:
            texts = questions(setting, clients * setting.requests, kind)
            batches = [texts[n : n + clients] for n in range(0, len(texts), clients)]
            done[kind, clients] = _generated(generate, batches, longest, together)
    return done


def _generated(
    generate: Callable[[Sequence[str], int], int], rounds: list[list[str]], longest: int, together: bool
) -> Timing:
    """In each round all clients ask at once; what is served after another's answer waited for it."""
    latencies, tokens, begun = list[float](), 0, time.perf_counter()
    for texts in rounds:
        asked = time.perf_counter()
        for batch in [texts] if together else [[text] for text in texts]:
            tokens += generate(batch, longest)
            latencies += [time.perf_counter() - asked] * len(batch)
    return Timing(time.perf_counter() - begun, latencies, tokens)


# llama.cpp.


def llama_cpp(setting: Setting) -> dict[tuple[str, int], Timing]:
    """llama.cpp's server in an environment of its own, with the same weights in the same format."""
    runtime.install("llama.cpp", setting.home)
    python = runtime.interpreter("llama.cpp", "gguf", setting.home)
    card = Store(setting.home).get("text")
    specialist = ask.loaded(card, setting.home)
    loads = [(kind, clients) for kind in CONTRACTS for clients in setting.clients]
    jobs = [
        {
            "clients": clients,
            "conversations": [
                messages(text) for text in questions(setting, clients * setting.requests, kind)
            ],
            "tokens": CONTRACTS[kind][1],
        }
        for kind, clients in loads
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        gguf_model.write(specialist, card, path, card.dtype)
        task = {
            "model": str(path),
            "threads": setting.threads,
            "parallel": max(setting.clients),
            "context": 512,
            "jobs": jobs,
        }
        lines = _child(python, task)
    return {load: Timing(**line) for load, line in zip(loads, lines, strict=True)}


def _child(python: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    script = Path(__file__).parent / "peers" / "llamacpp.py"
    done = subprocess.run(
        [python, script], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"llama.cpp failed: {done.stderr[-2_000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


PROGRAMS: dict[str, Callable[[Setting], dict[tuple[str, int], Timing]]] = {
    "azubi": ours,
    "Transformers, one at a time": lambda setting: transformers(setting, False),
    "Transformers, batched": lambda setting: transformers(setting, True),
    "llama.cpp": llama_cpp,
}


def speed(setting: Setting, programs: Sequence[str]) -> list[list[str]]:
    """A row for each kind of answer, number of clients and program."""
    for kind in CONTRACTS:
        register(setting, kind, kind, None)
    measured = {}
    for program in programs:
        measured[program] = PROGRAMS[program](setting)
        gc.collect()
        print(f"measured: {program}", file=sys.stderr, flush=True)
    return [
        [kind, str(clients), program, *measured[program][kind, clients].row]
        for kind in CONTRACTS
        for clients in setting.clients
        for program in programs
    ]


def documents(setting: Setting) -> list[list[str]]:
    """Seconds of three specialists that are asked about one document after the other."""
    rows = []
    for kind in CONTRACTS:
        names = [f"{kind}-{place}" for place in ("first", "second", "third")]
        for name in names:
            register(setting, name, kind, 0)
        with _service(setting) as service:
            for name in names:
                _seconds(service, name, "Loads it.", 4)
            texts = [" ".join(random.Random(seed).choices(WORDS, k=setting.document)) for seed in range(5)]
            runs = [[_seconds(service, name, text, 40) for name in names] for text in texts]
        first, second, third = (statistics.median(times) for times in zip(*runs, strict=True))
        rows.append([kind, f"{first:.3f}", f"{second:.3f}", f"{third:.3f}", f"{100 * second / first:.0f} %"])
    return rows


@contextlib.contextmanager
def _service(setting: Setting) -> Iterator[Service]:
    service = Service(setting.home, threads=setting.threads)
    yield service
    service.close(60)


def _seconds(service: Service, name: str, text: str, tokens: int) -> float:
    asked = Inquiry(name, (Turn("user", text),), "bench", most_tokens=tokens)

    async def answered() -> None:
        await whole(service.submit(asked))

    begun = time.perf_counter()
    asyncio.run(answered())
    return time.perf_counter() - begun


def memory(setting: Setting) -> list[list[str]]:
    """What many specialists take, all of them asked, against the base as it was published and their tails."""
    cards = [register(setting, f"text-{n}", "text", None) for n in range(1, setting.specialists + 1)]
    tail = (cards[0].folder / "tail.safetensors").stat().st_size
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        names = [[Path(setting.base).name], [card.name for card in cards]]
        (whole_model, _), (one, taken) = fresh.map(_taken, [setting] * 2, names)
    figures = {
        "the base as it was published, asked": whole_model,
        "a tail's file": tail,
        f"the base and {len(cards)} tails": whole_model + len(cards) * tail,
        "taken by one specialist and its base": one,
        f"taken by {len(cards)} specialists and their base": taken,
    }
    return [[what, f"{size / 1e6:.0f} MB"] for what, size in figures.items()]


def _taken(setting: Setting, names: Sequence[str]) -> tuple[int, int]:
    """Bytes that the first of these takes, and all of them, when they have answered; libraries included.

    In a process that has done nothing else, whose freed memory would be used again.
    """
    process, taken = psutil.Process(), []
    with _service(setting) as service:
        before = process.memory_info().rss
        for name in names:
            _seconds(service, name, "Loads it.", 4)
            taken.append(process.memory_info().rss - before)
    return taken[0], taken[-1]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


HEADS = {
    "speed": ("answer", "clients", "program", "requests/s", "tokens/s", "p50 s", "p95 s"),
    "documents": ("answer", "first s", "second s", "third s", "second / first"),
    "memory": ("what", "memory"),
}


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", default=list(HEADS), help=", ".join(HEADS))
    parser.add_argument("--home", type=Path, default=HOME)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=hardware.physical_cores())
    parser.add_argument("--tail-layers", type=int, default=8)
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--requests", type=int, default=4, help="of each client")
    parser.add_argument("--question", type=int, default=40, help="words of a question")
    parser.add_argument("--document", type=int, default=900, help="words of the document")
    parser.add_argument("--specialists", type=int, default=SPECIALISTS)
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    return parser.parse_args(given)


def main(given: Sequence[str]) -> None:
    """Measure the parts that are named, and print a table for each."""
    arguments = _arguments(given)
    hardware.use_threads(arguments.threads)
    setting = Setting(
        arguments.home,
        arguments.base,
        arguments.threads,
        arguments.tail_layers,
        tuple(arguments.clients),
        arguments.requests,
        arguments.question,
        arguments.document,
        arguments.specialists,
    )
    print(json.dumps({"base": setting.base, **facts(setting.threads)}), flush=True)
    for part in arguments.parts:
        # Memory first in a fresh process: what others left would be counted, or filled again.
        rows = speed(setting, arguments.programs) if part == "speed" else PARTS[part](setting)
        print("\n" + table(HEADS[part], rows), flush=True)


PARTS: dict[str, Callable[[Setting], list[list[str]]]] = {"documents": documents, "memory": memory}

if __name__ == "__main__":
    main(sys.argv[1:])

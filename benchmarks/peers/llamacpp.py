"""Times llama.cpp's server through xllamacpp; runs without azubi, in an environment of its own.

Reads one JSON document from standard input (`model`, `threads`, `context`, and `jobs` with `clients`,
`conversations` and `tokens`), and writes one line of JSON for each job: the seconds that it took, those of
each request, and the tokens that were written. Requests are handed over in this process: HTTP costs nothing.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import xllamacpp


def server_of(task: dict[str, Any]) -> Any:
    """A server with a place for each client, which answers greedily and keeps no prompt for the next."""
    params = xllamacpp.CommonParams()
    params.model.path = task["model"]
    params.use_jinja, params.warmup, params.verbosity, params.sampling.temp = True, True, 0, 0.0
    params.n_parallel, params.n_ctx = task["parallel"], task["context"] * task["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = task["threads"]
    return xllamacpp.Server(params)


def timed(server: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Answer all conversations with so many clients at a time."""
    settings = {"max_tokens": job["tokens"], "temperature": 0.0, "cache_prompt": False}

    def ask(messages: Any) -> tuple[float, int]:
        begun = time.perf_counter()
        answer = server.handle_chat_completions({"messages": messages, **settings})
        if not isinstance(answer, dict) or "usage" not in answer:
            raise RuntimeError(f"llama.cpp does not answer: {answer}")
        return time.perf_counter() - begun, int(answer["usage"]["completion_tokens"])

    begun = time.perf_counter()
    with ThreadPoolExecutor(job["clients"]) as clients:
        done = list(clients.map(ask, job["conversations"]))
    return {
        "seconds": time.perf_counter() - begun,
        "latencies": [seconds for seconds, _ in done],
        "tokens": sum(tokens for _, tokens in done),
    }


def main() -> None:
    """Answer the jobs of standard input; the library prints, so answers go where standard output was."""
    task = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        server = server_of(task)
        timed(server, task["jobs"][0] | {"conversations": task["jobs"][0]["conversations"][:1]})
        for job in task["jobs"]:
            print(json.dumps(timed(server, job)), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""`azubi serve` and `azubi keys`: OpenAI's API on this machine, and who may call it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean, facts, moment, plain_table
from azubi.data.finding import some
from azubi.errors import SettingError
from azubi.locale.current import translated
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.serve.backend import Backend
    from azubi.serve.keys import Key

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 is every network.")
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="The port.")]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain for HTTPS, as PEM.")
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, as PEM.")]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        metavar="MB",
        min=1,
        help="What specialists may take beside their bases; half of what is free.",
    ),
]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=0, help="Threads that compute; 0 is one for each core.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host", metavar="NAME", help="Another name by which the server is called; repeat it."
    ),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        metavar="URL",
        help="A site whose pages may call the server from a browser; repeat it.",
    ),
]
StoreFeedback = Annotated[
    bool,
    typer.Option(
        "--store-feedback", help="Keep questions and answers, encrypted, so that they can be corrected."
    ),
]
Company = Annotated[
    str,
    typer.Option(
        "--company", metavar="NAME", help="What stands in the names of fine-tuned models: ft:BASE:NAME:…"
    ),
]
JobsAtOnce = Annotated[
    int, typer.Option("--jobs", metavar="N", min=1, help="Fine-tuning jobs that run at a time.")
]
KeyName = Annotated[str, typer.Option("--name", metavar="NAME", help="Who uses the key; shown in logs.")]
KeyModels = Annotated[
    str,
    typer.Option(
        "--models", metavar="NAMES|all", help="What it may ask: claims,triage; every version of them."
    ),
]
KeyScope = Annotated[
    str,
    typer.Option("--scope", metavar="SCOPES", help="chat, files, tune, admin, metrics; several by commas."),
]
PerMinute = Annotated[
    int | None,
    typer.Option("--requests-per-minute", metavar="N", min=1, help="At most; no limit if not given."),
]
TokensPerMinute = Annotated[
    int | None,
    typer.Option("--tokens-per-minute", metavar="N", min=1, help="Read and written; no limit if not given."),
]
KeyOrId = Annotated[
    str, typer.Argument(metavar="NAME", help="The key's name or id, as `azubi keys list` has it.")
]


def serve(
    session: Session,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    memory: Memory = None,
    threads: Threads = 0,
    allow_host: AllowHost = None,
    cors_origin: CorsOrigin = None,
    store_feedback: StoreFeedback = False,
    company: Company = "company",
    jobs: JobsAtOnce = 1,
) -> None:
    """Answer over HTTP, with OpenAI's API: every specialist of this home, each base in memory once.

    Every request needs a key (azubi keys create). Ctrl-C finishes what runs, then stops.
    """
    with importing():
        from azubi.pipeline.service import Service
        from azubi.serve.backend import ServeOptions, open_backend
        from azubi.serve.server import serve as serving
    if (tls_cert is None) != (tls_key is None):
        raise SettingError(
            "A certificate and its key belong together.", "Give both --tls-cert and --tls-key."
        )
    for path in (tls_cert, tls_key):
        if path is not None and not path.is_file():
            raise SettingError(f"There is no file {path}.", "Check --tls-cert and --tls-key.")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", company):
        raise SettingError(
            f"“{company}” cannot stand in the name of a model.",
            "Use up to 64 letters, digits, dots, hyphens and underscores for --company.",
        )
    options = ServeOptions(
        host,
        port,
        tls_cert,
        tls_key,
        tuple(allow_host or ()),
        tuple(cors_origin or ()),
        store_feedback,
        company=company,
        jobs_at_once=jobs,
    )
    service = Service(session.home, memory=None if memory is None else memory << 20, threads=threads)
    backend = open_backend(session.home, service, options)
    serving(backend, lambda: _tell_started(backend, session))


def _tell_started(backend: "Backend", session: Session) -> None:
    """Where it listens, what it serves, and one line to try."""
    options, infos = backend.options, backend.service.models()
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"{'https' if options.tls_cert else 'http'}://{host}:{options.port}"
    specialists = [info.name for info in infos if info.kind == "specialist" and "@" not in info.name]
    keys = [key for key in backend.keys.all() if key.revoked is None]
    if session.json:
        session.emit({"address": f"{address}/v1", "specialists": specialists, "keys": len(keys)})
        return
    names = ", ".join(specialists) or translated("none yet; train one with azubi tune")
    lines = {"Address": f"{address}/v1", "Specialists": names, "Keys": str(len(keys))}
    for line in facts(lines):
        print(clean(line))
    model = specialists[0] if specialists else "MODEL"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "…"}}]}}'
    if not keys:
        making = f"Nobody can ask without a key. Make one: azubi keys create --name my-app --models {model}"
        print("\n" + translated(making))
    print("\n" + translated("Try it:"))
    print(f"curl {address}/v1/chat/completions -H 'Authorization: Bearer KEY' \\")
    print(f"  -H 'Content-Type: application/json' -d '{body}'", flush=True)


def list_keys(session: Session) -> None:
    """List the keys of the server: what each may do, and which were revoked."""
    from azubi.serve.keys import KeyStore

    keys = KeyStore(session.home).all()
    if session.json:
        session.emit({"keys": [_key_document(key) for key in keys]})
        return
    if not keys:
        print(translated("There is no key yet. Make one: azubi keys create --name my-app --models all"))
        return
    table = plain_table("name", "id", "scopes", "models", "per minute", "made", "revoked")
    for key in keys:
        revoked = "" if key.revoked is None else moment(key.revoked)
        row = (
            key.name,
            key.id,
            ", ".join(sorted(key.scopes)),
            _models(key),
            _limits(key),
            moment(key.created),
        )
        table.add_row(*map(clean, row), revoked)
    session.out().print(table)


def _models(key: "Key") -> str:
    return translated("all") if key.models is None else ", ".join(key.models) or "–"


def _limits(key: "Key") -> str:
    requests, tokens = key.requests_per_minute, key.tokens_per_minute
    limits = (
        "" if requests is None else translated(some(requests, "request")),
        "" if tokens is None else translated(some(tokens, "token")),
    )
    return ", ".join(filter(None, limits)) or "–"


def create_key(
    session: Session,
    name: KeyName,
    models: KeyModels = "",
    scope: KeyScope = "chat",
    requests_per_minute: PerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
) -> None:
    """Make a key, and print it once: only its hash is stored."""
    from azubi.serve.keys import KeyOptions, KeyStore

    options = KeyOptions(name, _split(scope), _split(models), requests_per_minute, tokens_per_minute)
    key, secret = KeyStore(session.home).create(options)
    for model in _unknown(key, session.home):
        note = f"There is no specialist and no base named {model} here yet."
        session.err().print(clean(f"{translated('Note:')} {translated(note)}"))
    if session.json:
        session.emit(_key_document(key) | {"key": secret})
        return
    print(secret)
    print(translated("This key is shown once, and stored nowhere: put it where only its user gets at it."))


def _unknown(key: "Key", home: Path) -> list[str]:
    """Models that the key may ask and that are not here: trained later, or misspelt."""
    from azubi.engine.base import catalog
    from azubi.registry.store import Store

    store = Store(home)
    bases = {entry.name for entry in catalog.known()} | {Path(card.base).name for card in store.all()}
    return [model for model in key.models or () if model not in bases | store.log.specialists().keys()]


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def revoke_key(session: Session, name: KeyOrId) -> None:
    """Revoke a key; it stops at once, also on a server that runs."""
    from azubi.serve.keys import KeyStore

    key = KeyStore(session.home).revoke(name)
    if session.json:
        session.emit(_key_document(key))
    else:
        print(translated(f"The key {key.name} ({key.id}) is revoked."))


def _key_document(key: "Key") -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else list(key.models),
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "created": key.created.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }

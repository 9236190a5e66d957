"""/v1/embeddings: texts in, vectors of length 1 out, from an encoder as it was published."""

import asyncio
import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from azubi.serve.audit import AuditEntry
from azubi.serve.backend import BackendOf
from azubi.serve.guard import ChatKey
from azubi.serve.models import permitted
from azubi.serve.requests import EmbeddingRequest

router = APIRouter(tags=["answers"])


@router.post("/v1/embeddings", response_model=None)
async def embed(body: EmbeddingRequest, request: Request, backend: BackendOf, key: ChatKey) -> Response:
    """Vectors of texts."""
    name = permitted(body.model, backend, key)
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors, tokens = await asyncio.to_thread(backend.service.embed, name, texts)
    backend.rates.spend(key, tokens)
    backend.metrics.answered(name, tokens, 0, 0, None)
    entry = AuditEntry("embed", key.id, key.name, request.state.request_id, name, prompt_tokens=tokens)
    await backend.audit.add(entry)
    plain = body.encoding_format != "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": vector.tolist() if plain else _base64(vector)}
        for place, vector in enumerate(vectors)
    ]
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "data": data, "model": name, "usage": used})


def _base64(vector: "np.ndarray[Any, Any]") -> str:
    """Its numbers as little-endian float32."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()

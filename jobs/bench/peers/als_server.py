"""The recommendation service that a team writes in an afternoon: implicit's ALS behind FastAPI and uvicorn.

`python -m jobs.bench.peers.als_server FOLDER PORT`. FOLDER holds interactions.npz (users x items) and ids.json (users,
items, titles), as `jobs/bench/serve.py` writes them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import scipy.sparse as sp
import uvicorn
from fastapi import FastAPI, HTTPException
from implicit.als import AlternatingLeastSquares
from pydantic import BaseModel
from threadpoolctl import threadpool_limits

from recsys.config import FactorsSettings

INTERACTIONS_FILE: Final = "interactions.npz"
IDS_FILE: Final = "ids.json"


class Ask(BaseModel):
    """Who asks, and for how many items."""

    user_id: str
    count: int = 10


class Item(BaseModel):
    item_id: str
    score: float
    title: str | None


class Answer(BaseModel):
    items: list[Item]


def create_app(interactions: sp.csr_matrix, ids: dict[str, list[Any]]) -> FastAPI:
    """The service, its model fitted with the product's number of factors."""
    settings = FactorsSettings()
    model = AlternatingLeastSquares(
        factors=settings.dim, iterations=settings.iterations, regularization=settings.regularization, random_state=0
    )
    with threadpool_limits(limits=1, user_api="blas"):
        model.fit(interactions, show_progress=False)
    rows = {user_id: row for row, user_id in enumerate(ids["users"])}
    items, titles = ids["items"], ids["titles"]
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/recommend")
    async def recommend(ask: Ask) -> Answer:
        row = rows.get(ask.user_id)
        if row is None:
            raise HTTPException(404, "unknown user")
        found, scores = model.recommend(row, interactions[row], N=ask.count)
        listed = zip(found.tolist(), scores.tolist(), strict=True)
        return Answer(items=[Item(item_id=items[at], score=score, title=titles[at]) for at, score in listed])

    return app


def main(arguments: Sequence[str]) -> int:
    folder, port = Path(arguments[0]), int(arguments[1])
    ids = json.loads((folder / IDS_FILE).read_text(encoding="utf-8"))
    app = create_app(sp.csr_matrix(sp.load_npz(folder / INTERACTIONS_FILE)), ids)
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

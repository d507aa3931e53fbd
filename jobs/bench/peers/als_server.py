"""The baseline of `recsys bench serve`: a minimal recommendation service, implicit's ALS behind FastAPI and uvicorn.

`python -m jobs.bench.peers.als_server FOLDER PORT`. FOLDER holds interactions.npz (users x items) and ids.json (users,
items, titles), as `jobs/bench/serve.py` writes them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import scipy.sparse as sp
import uvicorn
from fastapi import FastAPI, HTTPException
from implicit.als import AlternatingLeastSquares
from pydantic import BaseModel, TypeAdapter
from threadpoolctl import threadpool_limits

from recsys.config import FactorsSettings

INTERACTIONS_FILE: Final = "interactions.npz"
IDS_FILE: Final = "ids.json"


@dataclass(frozen=True)
class Ids:
    """`IDS_FILE`: ids of the rows and columns of the interactions; titles: of the items."""

    users: list[str]
    items: list[str]
    titles: list[str | None]


IDS: Final = TypeAdapter(Ids)


class RecommendRequest(BaseModel):
    """A user, and the number of items to return."""

    user_id: str
    count: int = 10


class Item(BaseModel):
    item_id: str
    score: float
    title: str | None


class Answer(BaseModel):
    items: list[Item]


def create_app(interactions: sp.csr_matrix, ids: Ids) -> FastAPI:
    """Fit the model, with the product's number of factors, and return the service."""
    settings = FactorsSettings()
    model = AlternatingLeastSquares(
        factors=settings.dim, iterations=settings.iterations, regularization=settings.regularization, random_state=0
    )
    with threadpool_limits(limits=1, user_api="blas"):
        model.fit(interactions, show_progress=False)
    rows = {user_id: row for row, user_id in enumerate(ids.users)}
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/recommend")
    async def recommend(request: RecommendRequest) -> Answer:
        row = rows.get(request.user_id)
        if row is None:
            raise HTTPException(404, "unknown user")
        # Where there are fewer, implicit adds items of the history, and then the first item again and again.
        count = min(request.count, len(ids.items) - interactions[row].nnz)
        if count < 1:
            return Answer(items=[])
        item_rows, scores = model.recommend(row, interactions[row], N=count)
        ranked = zip(item_rows.tolist(), scores.tolist(), strict=True)
        return Answer(items=[Item(item_id=ids.items[at], score=score, title=ids.titles[at]) for at, score in ranked])

    return app


def main(arguments: Sequence[str]) -> int:
    folder, port = Path(arguments[0]), int(arguments[1])
    ids = IDS.validate_json((folder / IDS_FILE).read_bytes())
    app = create_app(sp.csr_matrix(sp.load_npz(folder / INTERACTIONS_FILE)), ids)
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

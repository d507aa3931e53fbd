"""`docs/client.ts` against the service's routes; compiled and run where there is a compiler."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serving.client import Client

FILE = Path(__file__).parents[3] / "docs" / "client.ts"
PARAMETER = re.compile(r"\$\{encodeURIComponent\((\w+?)(Id)\)\}")


def _parameter(match: re.Match[str]) -> str:
    """`itemId` as the document writes it."""
    return "{" + match[1] + "_id}"


def test_every_route_is_called(described: dict[str, Any]) -> None:
    called = re.findall(r'"(POST|GET|PUT|DELETE)", [`"](/v1/[^?`"]+)', FILE.read_text())
    named = {(method, PARAMETER.sub(_parameter, path)) for method, path in called}
    assert named == {
        (method.upper(), path)
        for path, operations in described["paths"].items()
        for method in operations
        if path.startswith("/v1/")
    }


SCRIPT = """
import { Client, ProblemError } from "./client.js";
const client = new Client(process.argv[2], { key: "both", listTimeoutMs: 30000 });
const result = {};
result.known = (await client.recommend({ user_id: "ann", filter: { price: { max: 100 } } })).items[0].item_id;
result.popular = (await client.popular({ count: 1, window: "ever" })).items[0].item_id;
result.events = (await client.sendEvents([{ user_id: "zoe", event_type: "view", item_id: "boot" }])).accepted;
result.item = (await client.putItem("a/b c?", { title: "Lamp", price: 3 })).item_id;
result.items = (await client.putItems([{ item_id: "rug", price: 9 }, { item_id: "rug", price: -1 }])).item_ids;
result.refused = await client.recommend({ user_id: "ann", count: 5000 }).catch((problem) => problem.errors[0].field);
const down = new Client("http://127.0.0.1:1", { retries: 1 });
console.warn = () => {};
result.fallback = (await down.recommend({ user_id: "ann" }, ["b", "a"])).items.map((item) => item.item_id);
result.lost = await down.release().catch((problem) => problem instanceof ProblemError && problem.status);
console.log(JSON.stringify(result));
"""


@pytest.mark.skipif(not (shutil.which("tsc") and shutil.which("node")), reason="needs node and the TypeScript compiler")
def test_it_compiles_and_does_what_the_python_client_does(url: str, tmp_path: Path) -> None:
    checked = ["--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"]
    done = subprocess.run(["tsc", *checked, "--outDir", tmp_path, FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "shop.js").write_text(SCRIPT)
    done = subprocess.run(["node", tmp_path / "shop.js", url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Client(url, "both", list_timeout_s=30.0) as client:
        assert json.loads(done.stdout) == {
            "known": client.recommend(user_id="ann", filter={"price": {"max": 100}}).item_ids[0],
            "popular": "lamp",
            "events": 1,
            "item": "a/b c?",
            "items": ["rug", None],
            "refused": "count",
            "fallback": ["b", "a"],
            "lost": 0,
        }

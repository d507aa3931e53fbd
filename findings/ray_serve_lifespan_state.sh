#!/usr/bin/env bash
# Starlette hands what a lifespan yields to every request as `request.state`. Ray Serve runs the lifespan of a FastAPI
# app that is its ingress, but starts requests without that state. Under uvicorn the same app finds it.
#
# Seen with ray 2.60.0, fastapi 0.165.0, starlette 1.10.0, Python 3.11:
#   uvicorn:   {"lifespan_ran":true,"in_request_state":true}
#   ray serve: {"lifespan_ran":true,"in_request_state":false}
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[serve]==2.60.0' 'fastapi==0.165.0' 'starlette==1.10.0' 'uvicorn==0.54.0' 'httpx==0.28.1'
cd "$place"
cat > app.py <<'PYTHON'
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

ran = []


@asynccontextmanager
async def lifespan(app):
    ran.append(True)
    yield {"greeting": "hello"}


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def look(request: Request):
    return {"lifespan_ran": bool(ran), "in_request_state": hasattr(request.state, "greeting")}
PYTHON
cat > served.py <<'PYTHON'
import subprocess
import sys
import time
from importlib.metadata import version

import httpx
import ray
from ray import serve


def build():
    from app import app

    return app


def answer(port):
    for _ in range(300):
        try:
            return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("no answer")


server = subprocess.Popen([sys.executable, "-m", "uvicorn", "app:app", "--port", "8765", "--log-level", "error"])
plain = answer(8765)
server.terminate()
server.wait()
ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
serve.start(http_options={"host": "127.0.0.1", "port": 8766})


@serve.deployment
@serve.ingress(build)
class Ingress:
    pass


serve.run(Ingress.bind())
by_ray = answer(8766)
serve.shutdown()
ray.shutdown()
print("ray", ray.__version__, "fastapi", version("fastapi"), "starlette", version("starlette"))
print("uvicorn:  ", plain)
print("ray serve:", by_ray)
assert plain == '{"lifespan_ran":true,"in_request_state":true}', plain
assert by_ray == '{"lifespan_ran":true,"in_request_state":false}', by_ray
PYTHON
PYTHONPATH="$place" RAY_SERVE_LOG_TO_STDERR=0 "$place/venv/bin/python" served.py 2>"$place/log" || { cat "$place/log" >&2; exit 1; }

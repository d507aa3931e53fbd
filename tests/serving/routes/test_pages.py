import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serving.releases.active import ActiveRelease
from serving.routes.web_files import MAP_SOURCE, POINT_MAP, web_files
from serving.watch.keys import Keys

ROOT = Path(__file__).parents[3]
MAX_LINES = 200


@pytest.mark.parametrize("path", ["/demo", "/ops", "/inspect"])
def test_a_page_is_held_to_this_host(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "object-src 'none'"} <= set(policy)
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("js/demo.js", "text/javascript"), ("css/base.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_a_file_has_the_type_that_browsers_ask_for(client: TestClient, path: str, media_type: str) -> None:
    response = client.get(f"/web/{path}")
    assert response.headers["content-type"].split(";")[0] == media_type
    assert response.headers["cache-control"] == "no-cache"


def test_a_known_version_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/demo").headers["etag"]
    again = client.get("/demo", headers={"If-None-Match": f'"old", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert client.get("/demo", headers={"If-None-Match": '"old"'}).status_code == 200
    assert client.get("/ops").headers["etag"] != etag


def test_head_tells_the_length_without_the_page(client: TestClient) -> None:
    assert int(client.head("/demo").headers["content-length"]) == len(client.get("/demo").content)
    assert client.head("/demo").content == b""


@pytest.mark.parametrize("path", ["nothing.js", "../page_routes.py", "%2e%2e/page_routes.py", "js/../../api.py", ""])
def test_nothing_but_the_pages_files_is_sent(client: TestClient, path: str) -> None:
    assert client.get(f"/web/{path}").status_code == 404


def test_pages_are_open_where_the_data_behind_them_needs_a_key(
    live: ActiveRelease, client_of: Callable[..., TestClient], keys_of: Callable[..., Keys]
) -> None:
    keys = keys_of()
    client = client_of(live, keys=lambda: keys)
    assert client.get("/demo").status_code == client.get("/ops").status_code == 200
    assert client.get("/web/js/demo.js").status_code == 200
    assert client.get("/v1/categories").status_code == client.get("/metrics").status_code == 401


def test_pages_load_every_file_from_this_host_and_every_file_is_there() -> None:
    files = web_files()
    for name, file in files.items():
        if name.startswith("docs/"):
            continue
        text = file.body.decode()
        assert not re.search(
            r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]", re.sub(r"(?m)^\s*//.*$|\s// .*$", "", text)
        )
        assert not re.search(r'(?:src|href)="/|url\("/|fetch\([`"]/', text), f"{name} fails below a path of a proxy"
        for path in re.findall(r'(?:src|href)="web/([^"]+)"|url\("\.\./([^"]+)"\)', text):
            assert "".join(path) in files, f"{name} loads {path}"
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert f"js/{module}" in files, f"{name} imports {module}"


def test_the_description_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {"web/docs/swagger-ui-bundle.js", "web/docs/swagger-ui.css"} <= set(loaded)
    assert all(client.get(f"/{path}").status_code == 200 for path in loaded)
    assert "http" not in page


def test_no_script_writes_markup_or_inline_styles() -> None:
    for name, file in web_files().items():
        if name.startswith("docs/"):
            continue
        text = file.body.decode()
        if name.endswith(".js"):
            unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.style\b|srcdoc"
            assert not re.search(unsafe, text), name
        if name.endswith(".html"):
            assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src=)", text), name


def test_scripts_are_short_enough_to_read() -> None:
    for name, file in web_files().items():
        assert file.body.count(b"\n") <= (2 * MAX_LINES if name.endswith(".css") else MAX_LINES), name


def test_an_installed_wheel_has_the_pages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("recsys", "features", "serving", "jobs"):
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {
            name.removeprefix("serving/web/"): wheel.read(name)
            for name in wheel.namelist()
            if name.startswith("serving/web/")
        }
        packed[POINT_MAP] = wheel.read(f"features/{MAP_SOURCE}")
    assert packed == {name: file.body for name, file in web_files().items() if not name.startswith("docs/")}

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from features.workspace.api_keys import Scope
from serving.ingress.scopes import guard_routes, needs


def app_of(path: str, **declared: object) -> FastAPI:
    app = FastAPI()

    @app.put(path, **declared)  # type: ignore[arg-type]
    def route() -> str:
        return ""

    return app


def test_a_route_below_v1_without_a_scope_does_not_start() -> None:
    with pytest.raises(ValueError, match="PUT /v1/items: no scope; declare it"):
        guard_routes(app_of("/v1/items"))


def test_a_path_with_parameters_is_found_by_its_template() -> None:
    routes = guard_routes(app_of("/v1/items/{item_id}.json", openapi_extra=needs(Scope.WRITE)))
    route = routes.find("/v1/items/boot.json")
    assert route is not None
    assert (route.template, dict(route.scopes)) == ("/v1/items/{item_id}.json", {"PUT": Scope.WRITE})
    for other in ("/v1/items/bootxjson", "/v1/items/a/b.json", "/v1/items/", "/v1/items/boot.json/"):
        assert routes.find(other) is None


def test_a_route_elsewhere_may_be_open() -> None:
    route = guard_routes(app_of("/healthz")).find("/healthz")
    assert route is not None
    assert route.scopes == {}


def test_the_description_tells_scopes_and_the_guards_answers(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert described["components"]["securitySchemes"].keys() == {"bearer", "key"}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/") or path == "/metrics":
                scope = "admin" if path.startswith(("/v1/shoppers", "/v1/inspect/")) else "read"
                names = [scope, *operation["security"][0]["bearer"][1:]]
                assert operation["security"] == [{"bearer": names}, {"key": names}]
                assert names in ([scope], [scope, "browser"])
                assert {"401", "403", "429"} <= operation["responses"].keys()
            else:
                assert "security" not in operation

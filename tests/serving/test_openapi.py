"""The service against its own description: schemathesis makes requests of it, good and bad, and checks every answer."""

from collections.abc import Callable

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection

from features.live.database import LiveDatabase
from recsys.config import Settings
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.watch.keys import Keys

CHECKS = {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422"]}}}
"""All of them. 422 is no defect: that a text says something, or a moment is not before 1990, no schema can tell."""

MIXED = {"POST /v1/events", "PUT /v1/items"}
"""Of whose bodies the sound entries are taken, though others break the description."""

FEW = hypothesis.settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_sent_gets_an_answer_that_the_description_tells(
    live: ActiveRelease, live_database: LiveDatabase, keys_of: Callable[..., Keys], mode: GenerationMode
) -> None:
    keys = keys_of(requests_per_s=1e6)
    app = create_app(Settings(), ServiceState(lambda: live, live_database, keys=lambda: keys))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(CHECKS))
    answered: set[int] = set()
    operations_called: set[str] = set()

    def check(case: schemathesis.Case) -> None:
        excluded = [negative_data_rejection] if case.operation.label in MIXED else []
        answer = case.call_and_validate(headers={"Authorization": "Bearer all"}, excluded_checks=excluded)
        answered.add(int(answer.status_code))
        operations_called.add(case.operation.label)

    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.POSITIVE or operation.body:
            FEW(hypothesis.given(case=operation.as_strategy(generation_mode=mode))(check))()
    with_body = mode is not GenerationMode.POSITIVE
    assert operations_called == {
        f"{method.upper()} {path}"
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation or not with_body
    }
    assert ({200, 202} if mode is GenerationMode.POSITIVE else {422}) <= answered

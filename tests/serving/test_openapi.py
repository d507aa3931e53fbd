"""The service against its own description: schemathesis makes requests of it, good and bad, and checks every answer."""

from collections.abc import Callable

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from features.live_database import LiveDatabase
from recsys.config import Settings
from serving.api import create_app
from serving.key_watch import Keys
from serving.release_watch import Live

CHECKS = {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422"]}}}
"""All of them. 422 is no defect: that a text says something, or a moment is not before 1990, no schema can tell."""

FEW = hypothesis.settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_sent_gets_an_answer_that_the_description_tells(
    live: Live, live_database: LiveDatabase, keys_of: Callable[..., Keys], mode: GenerationMode
) -> None:
    keys = keys_of(requests_per_s=1e6)
    app = create_app(lambda: live, Settings(), live_database, lambda: keys)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(CHECKS))
    answered: set[int] = set()

    def check(case: schemathesis.Case) -> None:
        answered.add(int(case.call_and_validate(headers={"Authorization": "Bearer all"}).status_code))

    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.POSITIVE or operation.body:
            FEW(hypothesis.given(case=operation.as_strategy(generation_mode=mode))(check))()
    assert ({200, 202} if mode is GenerationMode.POSITIVE else {422}) <= answered

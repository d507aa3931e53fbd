"""The generated files of the clients are those of today's OpenAPI document."""

import importlib.util
import shutil
import subprocess
from copy import deepcopy
from typing import Any

import pytest

from serving import generate_client
from serving.generate_client import OPENAPI_TYPESCRIPT, PYTHON_ANSWERS, PYTHON_REQUESTS, ROOT, TYPESCRIPT


@pytest.mark.parametrize(("path", "comment"), [(PYTHON_REQUESTS, "#"), (PYTHON_ANSWERS, "#"), (TYPESCRIPT, "//")])
def test_a_generated_file_says_so_and_is_of_todays_schemas(described: dict[str, Any], path: str, comment: str) -> None:
    first_line = (ROOT / path).read_text().partition("\n")[0]
    assert first_line == generate_client.header(described, comment), "run `make client`"


def test_the_digest_changes_with_a_field_of_a_request_and_of_an_answer(described: dict[str, Any]) -> None:
    digests = {generate_client.digest_of(described)}
    for name in ("ListRequest", "SlateItem"):
        changed = deepcopy(described)
        changed["components"]["schemas"][name]["properties"]["added"] = {"type": "string"}
        digests.add(generate_client.digest_of(changed))
    assert len(digests) == 3


def test_the_command_describes_the_same_service(described: dict[str, Any]) -> None:
    assert generate_client.client_schemas(generate_client.openapi_document()) == generate_client.client_schemas(
        described
    )


@pytest.mark.skipif(
    importlib.util.find_spec("datamodel_code_generator") is None, reason="needs datamodel-code-generator (extra dev)"
)
def test_the_python_files_are_what_the_generator_makes(described: dict[str, Any]) -> None:
    for path, content in generate_client.python_files(described).items():
        assert (ROOT / path).read_text() == content, "run `make client`"


def _installed_version() -> str:
    command = shutil.which("openapi-typescript")
    if command is None:
        return ""
    return subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(
    _installed_version().lstrip("v") != OPENAPI_TYPESCRIPT, reason=f"needs openapi-typescript {OPENAPI_TYPESCRIPT}"
)
def test_the_typescript_file_is_what_the_generator_makes(described: dict[str, Any]) -> None:
    assert (ROOT / TYPESCRIPT).read_text() == generate_client.typescript_file(described), "run `make client`"

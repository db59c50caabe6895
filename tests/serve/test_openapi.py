"""The service does what its OpenAPI document says, whatever schemathesis thinks of to send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
positive_data_acceptance = schemathesis.checks.positive_data_acceptance


@pytest.fixture
def api(start: Callable[..., TestClient]) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", start(hosts=("*",)).app)


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.mark.parametrize("valid", [True, False])
def test_answers_are_as_described(api: Any, valid: bool) -> None:
    mode = schemathesis.GenerationMode.POSITIVE if valid else schemathesis.GenerationMode.NEGATIVE
    operations = [each.ok() for each in api.get_all_operations()]
    assert len(operations) > 12
    for operation in operations:
        if not valid and operation.method == "get" and "{" not in operation.path:
            continue  # nothing can be sent that is wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck),
                  derandomize=True)  # fmt: skip
        def check(case: Any) -> None:
            # What the document cannot say, such as which names exist, is refused with 422.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        check()


def test_it_is_complete(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert any(status.startswith("2") for status in operation["responses"]), where
            if method == "post" and not path.endswith("/merge"):
                (content,) = operation["requestBody"]["content"].values()
                assert content["examples"], where

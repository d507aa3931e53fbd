"""Batches of events or items whose valid entries are accepted, and whose invalid entries are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.functional_validators import ModelWrapValidatorHandler

from serving.ingress.problems import FieldProblem, ProblemError, as_sentence, field_problem

MAX_PROBLEMS_PER_ENTRY: Final = 3

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Refused:
    """An invalid entry of a batch, and its problems."""

    problems: tuple[FieldProblem, ...]


class EntryProblem(FieldProblem):
    """A problem with one entry of a batch; `index` counts from 0."""

    index: int


def or_refused(value: object, validate: ModelWrapValidatorHandler[T]) -> T | Refused:
    """For pydantic's WrapValidator, so that an invalid entry does not make the whole batch invalid."""
    try:
        return validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS_PER_ENTRY]
        return Refused(tuple(field_problem(detail, detail["loc"]) for detail in details))


def split_entries(entries: Sequence[T | Refused], name: str) -> tuple[dict[int, T], list[EntryProblem]]:
    """The valid entries by index, and the problems of the others. name: of the entries, in paths of fields.

    Raises ProblemError where no entry is valid.
    """
    valid = {index: entry for index, entry in enumerate(entries) if not isinstance(entry, Refused)}
    errors = [
        EntryProblem(index=index, field=each.field, message=each.message)
        for index, entry in enumerate(entries)
        if isinstance(entry, Refused)
        for each in entry.problems
    ]
    if not valid:
        raise _all_refused(errors, len(entries), name)
    return valid, errors


def _all_refused(errors: Sequence[EntryProblem], n_entries: int, name: str) -> ProblemError:
    def path(of: EntryProblem) -> str:
        return of.field if n_entries == 1 else f"{name}.{of.index}.{of.field}".rstrip(".")

    fields = [FieldProblem(field=path(each), message=each.message) for each in errors]
    first = as_sentence(fields[0])
    more = f" (and {n_entries - 1} more {name})" if n_entries > 1 else ""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", first + more, fields)

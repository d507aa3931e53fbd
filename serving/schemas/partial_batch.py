"""Batches of which the good part is taken and the rest is told of: events, products."""

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
    """An entry of a batch that breaks the contract, and how."""

    problems: tuple[FieldProblem, ...]


class EntryProblem(FieldProblem):
    """What is wrong with one entry of a batch; `index` counts from 0."""

    index: int


def or_refused(value: object, validate: ModelWrapValidatorHandler[T]) -> T | Refused:
    """For pydantic's WrapValidator: one bad entry must not refuse the batch."""
    try:
        return validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS_PER_ENTRY]
        return Refused(tuple(field_problem(each, each["loc"]) for each in found))


def sorted_out(entries: Sequence[T | Refused], name: str) -> tuple[dict[int, T], list[EntryProblem]]:
    """The sound entries by their index, and what is wrong with the others. name: of the entries, in paths of fields.

    Raises ProblemError where none is sound.
    """
    good = {index: entry for index, entry in enumerate(entries) if not isinstance(entry, Refused)}
    errors = [
        EntryProblem(index=index, field=each.field, message=each.message)
        for index, entry in enumerate(entries)
        if isinstance(entry, Refused)
        for each in entry.problems
    ]
    if not good:
        raise _all_refused(errors, len(entries), name)
    return good, errors


def _all_refused(errors: Sequence[EntryProblem], n_entries: int, name: str) -> ProblemError:
    def path(of: EntryProblem) -> str:
        return of.field if n_entries == 1 else f"{name}.{of.index}.{of.field}".rstrip(".")

    fields = [FieldProblem(field=path(each), message=each.message) for each in errors]
    first = as_sentence(fields[0])
    more = f" (and {n_entries - 1} more {name})" if n_entries > 1 else ""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", first + more, fields)

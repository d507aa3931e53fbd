"""What each ranking step did to a list: ranker, filter, boosts, places for new items, pins, limits, diversity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from recsys.query import Query
from recsys.recommend import Recommender
from recsys.rules import Rules


def rule_steps(recommender: Recommender, query: Query) -> pl.DataFrame:
    """step, did, entered, left, moved: one row for each step that applies to this query, in the order of the steps.

    did: a description; entered, left: titles; moved: number of items whose place changed in the step.
    """
    steps = list(_steps(recommender, query))
    lists = [
        [(item.item_id, item.title or item.item_id, item.source) for item in slate.items]
        for slate in recommender.recommend([step_query for _, _, step_query in steps])
    ]
    rows, before = [], lists[0]
    for (name, did, _), now in zip(steps, lists, strict=True):
        old = {item_id: place for place, (item_id, *_) in enumerate(before)}
        new = {item_id: place for place, (item_id, *_) in enumerate(now)}
        rows.append(
            {
                "step": name,
                "did": did,
                "entered": [title for item_id, title, _ in now if item_id not in old],
                "left": [title for item_id, title, _ in before if item_id not in new],
                "moved": sum(old[item_id] != place for item_id, place in new.items() if item_id in old),
            }
        )
        before = now
    titles = pl.List(pl.String)
    return pl.DataFrame(
        rows, schema={"step": pl.String, "did": pl.String, "entered": titles, "left": titles, "moved": pl.Int64}
    )


def _steps(recommender: Recommender, query: Query) -> Iterator[tuple[str, str, Query]]:
    """Of each step: its name, a description, and the query with the rules of all steps up to it."""
    rules = query.rules
    so_far = Rules(new_items=0.0)
    n_hidden = len(set(recommender.profile(replace(query, rules=so_far)).hidden_rows.tolist()))
    base = replace(query, rules=so_far, by_ranker=False, explain=False)
    yield "weighted sum", f"{n_hidden:,} items hidden: seen, bought, unavailable, on the page or excluded", base
    if recommender.is_ranked(query):
        base = replace(base, by_ranker=True)
        yield "ranker", "the ranker reorders the top candidates", base
    if rules.filter is not None:
        so_far = replace(so_far, filter=rules.filter)
        n_matching = int(recommender.matching(rules.filter).sum())
        yield "filter", f"{n_matching:,} items match the filter", replace(base, rules=so_far)
    for boost in rules.boosts:
        so_far = replace(so_far, boosts=(*so_far.boosts, boost))
        n_matching = int(recommender.matching(boost.filter).sum())
        yield "boost", f"scores of {n_matching:,} items multiplied by {boost.factor:g}", replace(base, rules=so_far)
    share = recommender.new_item_share if rules.new_items is None else rules.new_items
    if share > 0:
        so_far = replace(so_far, new_items=rules.new_items)
        n_new = len(recommender.new_rows)
        yield "new items", f"{share:.0%} of places reserved for {n_new:,} new items", replace(base, rules=so_far)
    if rules.pins:
        so_far = replace(so_far, pins=rules.pins)
        yield "pins", f"{len(rules.pins)} items pinned to a place", replace(base, rules=so_far)
    if rules.max_per_category or rules.max_per_brand or rules.collapse_variants:
        so_far = replace(
            so_far,
            max_per_category=rules.max_per_category,
            max_per_brand=rules.max_per_brand,
            collapse_variants=rules.collapse_variants,
        )
        yield "limits", ", ".join(_limits(rules)), replace(base, rules=so_far)
    if rules.diversity:
        so_far = replace(so_far, diversity=rules.diversity)
        yield "diversity", f"diversity weight {rules.diversity:.0%}", replace(base, rules=so_far)


def _limits(rules: Rules) -> list[str]:
    most = [(rules.max_per_category, "category"), (rules.max_per_brand, "brand")]
    limits = [f"at most {n} per {of}" for n, of in most if n]
    return [*limits, "one variant per product"] if rules.collapse_variants else limits

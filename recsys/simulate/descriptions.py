"""Put a product into words: the title, the description and the attributes of its catalogue row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl

from recsys.simulate.catalog import Products
from recsys.simulate.clock import NEVER, SECOND
from recsys.simulate.models import COLOUR, MATERIAL, STYLE, Brands
from recsys.simulate.tastes import TermSpace
from recsys.simulate.vocabulary import Leaf, Style, Vocabulary, pick, with_article
from recsys.tables import Catalog

_OPENINGS: Final = (
    "{A_style} {noun} {made} {material}, made for {use}.",
    "The {model} is {a_style} {noun} {made} {material}, at its best for {use}.",
    "{Brand} makes this {style} {noun} {made} {material} with {use} in mind.",
    "Think of {use}: that is what this {style} {noun} {made} {material} is for.",
    "Meet the {model}, {a_style} {noun} {made} {material} and a good match for {use}.",
)
_COLOUR_LINES: Final = (
    "This one comes in {colour}.",
    "Shown here in {colour}.",
    "The colour is {colour}, a shade that goes with more than you would think.",
)
_SIZE_LINES: Final = ("Size: {size}.", "This is the {size} version.")


def write_catalog(
    vocabulary: Vocabulary,
    leaves: tuple[Leaf, ...],
    brands: Brands,
    space: TermSpace,
    products: Products,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """The catalogue, one row a product, in the order of the products.

    Words that describe the model are drawn per model, so its variants read alike and differ in colour or size.
    """
    chances = rng.random((products.n, 10))
    rows = [
        _row(vocabulary, leaves[products.leaf[i]], brands, space, products, i, chances[products.model[i]])
        for i in range(products.n)
    ]
    return pl.DataFrame(rows, schema=Catalog.create_empty().schema)


def _row(
    vocabulary: Vocabulary,
    leaf: Leaf,
    brands: Brands,
    space: TermSpace,
    products: Products,
    item: int,
    chance: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> dict[str, object]:
    model, terms = int(products.model[item]), products.terms[item]
    style_key, material = space.words[terms[STYLE]], space.words[terms[MATERIAL]]
    style = vocabulary.styles[style_key]
    features = [int(f) for f in products.models.features[model] if f >= 0]
    colour = space.words[terms[COLOUR]] if terms[COLOUR] >= 0 else ""
    size = leaf.sizes[products.size[item]] if products.size[item] >= 0 else ""
    brand = brands.names[products.models.brand[model]]
    name = vocabulary.names["models"][products.models.name[model]]
    word = pick(style.words, chance[0])
    fields = {
        "style": word,
        "a_style": with_article(word),
        "A_style": with_article(word).capitalize(),
        "noun": f"{leaf.unit} {leaf.noun}".strip(),
        "made": leaf.joint,
        "material": material,
        "use": pick(leaf.uses, chance[1]),
        "model": name,
        "Brand": brand,
        "colour": colour,
        "size": size,
    }
    attributes: dict[str, object] = {"style": style_key, "material": material}
    attributes |= {"colour": colour} if colour else {}
    attributes |= {"size": size} if size else {}
    attributes["features"] = [leaf.features[f] for f in features]
    return {
        "item_id": products.item_ids[item],
        "title": _title(leaf, fields, [leaf.features[f] for f in features], chance[8]),
        "description": _description(leaf, style, fields, features, chance),
        "category": leaf.path,
        "brand": brand,
        "price": float(products.price[item]),
        "available": bool(products.sold_out[item] == NEVER),
        "updated_at": datetime.fromtimestamp(products.arrived[item] // SECOND, tz=UTC),
        "attributes": json.dumps(attributes, ensure_ascii=False),
    }


def _description(
    leaf: Leaf,
    style: Style,
    fields: dict[str, str],
    features: list[int],
    chance: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> str:
    """At most five sentences: an opening, the features, a line on the style, and the colour or the size."""
    sentences = [pick(_OPENINGS, chance[2]).format(**fields)]
    sentences += [leaf.feature_sentences[f] for f in features]
    if chance[3] < 0.6 and leaf.joint == "in":  # what is used up has a look, but none to dwell on
        sentences.insert(1 + int(chance[4] * 2), pick(style.lines, chance[5]))
    if fields["colour"] and chance[6] < 0.5:
        sentences.append(pick(_COLOUR_LINES, chance[7]).format(**fields))
    elif fields["size"] and chance[6] < 0.8:
        sentences.append(pick(_SIZE_LINES, chance[7]).format(**fields))
    return " ".join(sentences[:5])


def _title(leaf: Leaf, fields: dict[str, str], features: list[str], chance: float) -> str:
    """As shops write them: "Norvik Aurora silent mechanical keyboard, walnut, charcoal, 75%"."""
    extras = [extra for extra in (fields["colour"], fields["size"]) if extra]
    if chance < 0.45:
        core = f"{fields['style']} {leaf.noun}, {fields['material']}, {features[0]}"
    elif chance < 0.8:
        core = f"{leaf.noun} {leaf.joint} {fields['material']}, {features[0]}"
    else:
        core = f"{fields['style']} {leaf.noun} – {', '.join(features[:2])}"
    return ", ".join([f"{fields['Brand']} {fields['model']} {core}", *extras])

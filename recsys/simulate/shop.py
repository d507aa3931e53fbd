"""A sample shop before anyone visits: its words, brands, products, and the kinds of people it attracts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from recsys.simulate.catalog import Products, draw_products
from recsys.simulate.clock import micros
from recsys.simulate.descriptions import write_catalog
from recsys.simulate.models import Brands, draw_brands
from recsys.simulate.tastes import Archetypes, TermSpace, draw_archetypes, draw_terms
from recsys.simulate.vocabulary import Leaf, Vocabulary, leaves_for, load_vocabulary


@dataclass(frozen=True)
class Shop:
    """All that stays the same while shoppers come and go."""

    vocabulary: Vocabulary
    leaves: tuple[Leaf, ...]
    brands: Brands
    space: TermSpace
    products: Products
    catalog: pl.DataFrame  # in the order of the products
    page_texts: pl.Series  # (n_items,) what the browser shows above a product page
    archetypes: Archetypes
    span: tuple[datetime, datetime]  # first and last moment of the simulated days

    @property
    def end(self) -> int:
        """The last moment (µs)."""
        return micros(self.span[1])


def open_shop(n_products: int, span: tuple[datetime, datetime], rng: np.random.Generator) -> Shop:
    """Draw a shop of `n_products` products for the days of `span` (two aware UTC midnights)."""
    vocabulary = load_vocabulary()
    leaves = leaves_for(n_products)
    space = draw_terms(vocabulary, leaves, rng)
    archetypes = draw_archetypes(leaves, rng)
    brands = draw_brands(vocabulary, leaves, n_products, rng)
    products = draw_products(vocabulary, leaves, brands, space, n_products, span, rng)
    catalog = write_catalog(vocabulary, leaves, brands, space, products, rng)
    leaf_name = pl.col("category").str.split(" > ").list.last()
    page_texts = catalog.select(pl.format("{} | {}", "title", leaf_name)).to_series()
    return Shop(vocabulary, leaves, brands, space, products, catalog, page_texts, archetypes, span)

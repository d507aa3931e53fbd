import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.values.prices import currencies, parse_prices


@pytest.mark.parametrize(
    ("text", "price", "currency"),
    [
        ("12.99", 12.99, None),
        ("12,5", 12.5, None),
        ("352 AED", 352.0, "AED"),
        ("USD 1.299,00", 1299.0, "USD"),
        ("R$ 1.299,90", 1299.9, "BRL"),
        ("CHF 1'299.00", 1299.0, "CHF"),
        ("CHF 12.-", 12.0, "CHF"),
        ("1 299,00 Kč", 1299.0, "CZK"),
        ("1 299 zł", 1299.0, "PLN"),
        ("€12,00", 12.0, "EUR"),
        ("£1,299", 1299.0, "GBP"),
        ("US$ 12", 12.0, "USD"),
        ("$1,299.00 MXN", 1299.0, "MXN"),
        ("₹1,29,900.00", 129900.0, "INR"),
        ("209.000.000 ₫", 209_000_000.0, "VND"),
        ("$1,299", 1299.0, None),
        ("299 kr.", 299.0, None),
        ("299:-", 299.0, None),
        ("299,-", 299.0, None),
        ("Rs. 1,299.00", 1299.0, None),
        ("Rs.99", 99.0, None),
        ("$.99", 0.99, None),
        ("12,50 €/kg", 12.5, "EUR"),
        ("12.00 USD / month", 12.0, "USD"),
        ("£12.00 (incl. VAT)", 12.0, "GBP"),
        ("12,00 € inkl. MwSt.", 12.0, "EUR"),
        ("S/ 12.50", 12.5, "PEN"),
        ("-$3.00", -3.0, None),
        ("$-3", -3.0, None),
    ],
)
def test_an_amount_and_its_currency(text: str, price: float, currency: str | None) -> None:
    assert parse_prices(pl.Series([text])).to_list() == [price]
    assert currencies(pl.Series([text])).to_list() == [currency]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("1.299 kr", 1299.0),
        ("12.990 COP", 12990.0),
        ("$12.990", 12990.0),
        ("USD 12.999", 12999.0),
        ("12.990", 12.99),
        ("12.990 KWD", 12.99),
        ("$0.999", 0.999),
        ("16.5100 EUR", 16.51),
        ("12,990", 12990.0),
        ("0,999", 0.999),
        ("1.299.000", 1_299_000.0),
    ],
)
def test_a_dot_before_three_digits_separates_thousands_beside_a_currency_only(text: str, price: float) -> None:
    assert parse_prices(pl.Series([text])).to_list() == [price]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("From $12.00", 12.0),
        ("ab 12,00 €", 12.0),
        ("12.00-15.00", 12.0),
        ("12.00 - 15.00 EUR", 12.0),
        ("$12 – $15", 12.0),
        ("12,00 € bis 15,00 €", 12.0),
        ("$12.00+", 12.0),
    ],
)
def test_of_a_range_the_lower_end_counts(text: str, price: float) -> None:
    assert parse_prices(pl.Series([text])).to_list() == [price]


@pytest.mark.parametrize("text", ["call us", "call us at 555", "inf", "1.2.3", "2023-12-21", "€", "", None])
def test_what_holds_no_amount_is_null(text: str | None) -> None:
    assert parse_prices(pl.Series([text], dtype=pl.String)).to_list() == [None]


def test_a_categorical_column_is_read_as_text() -> None:
    assert parse_prices(pl.Series(["$1"], dtype=pl.Categorical)).to_list() == [1.0]


def test_numbers_stay_and_have_no_currency() -> None:
    assert parse_prices(pl.Series([3, None])).to_list() == [3.0, None]
    assert parse_prices(pl.Series([1.5, float("nan"), float("inf")])).to_list() == [1.5, None, None]
    assert currencies(pl.Series([3])).to_list() == [None]


@given(
    st.integers(0, 99_999_999),
    st.sampled_from([(",", "."), (".", ","), ("'", "."), (" ", ","), ("\u00a0", ",")]),
    st.sampled_from(["{}", "{} EUR", "USD {}", "${}", "{} kr", "From £{}", "{}\u202f€"]),
)
def test_an_amount_in_cents_is_read_back_in_any_notation(cents: int, separators: tuple[str, str], form: str) -> None:
    thousands, decimal = separators
    whole = f"{cents // 100:,}".replace(",", thousands)
    text = form.format(f"{whole}{decimal}{cents % 100:02}")
    assert parse_prices(pl.Series([text])).to_list() == [cents / 100]

"""Addresses of persons never reach the workspace."""

from pathlib import Path

import polars as pl
import pytest
from sources_contract import rows, spec_of, take

from features.workspace.user_ids import UserIds
from jobs.ingest.persons import is_personal, mask, mask_row, mask_texts
from jobs.ingest.sources.spec import SourceOptions
from recsys.errors import DataError
from recsys.workspace import Workspace

ORDERS = (
    "customer_email,item_id,event_type,timestamp,Billing Phone,Billing Address1,client_ip,text\n"
    "Ada@Example.com,i1,purchase,2026-03-01,+49 30 5550100,1 Sample Road,192.0.2.7,\n"
    "bo@example.com,i2,purchase,never,(030) 555 0101,2 Sample Road,192.0.2.8,\n"
    + "".join(f"c{n}@example.com,i{n},view,2026-03-02,,,,write to me: c{n}@example.com\n" for n in range(100))
)
SECRETS = (b"example.com", b"5550100", b"555 0101", b"sample road", b"192.0.2.")


@pytest.mark.parametrize(
    "text",
    [
        *("2026-03-01T10:00:00Z", "4006381333931", "12.99", "1.2.3", "EAN 0012345678905", "10-12", "08:00-18:00"),
        *("01.02.2026 10:00", "01/02/2026 10:30", "05-06-2025 12:30", "2026-03-01 10:00:00+01:00"),
        *("12:30:45:12", "std::vector a::b", "978-3-16-148410-0", "100 200 3000", "0.25-0.50 m 1000"),
    ],
)
def test_dates_numbers_and_codes_are_no_persons(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail ada@example.com now", "mail [email] now"),
        ("call +49 30 5550100 or 030 555 0101", "call [phone] or [phone]"),
        ("from 192.0.2.7 and 2001:db8:0:0:0:0:0:1", "from [ip] and [ip]"),
        ("from 2001:db8::1 or fe80::1", "from [ip] or [ip]"),
        ("call (212) 555-0142, 212-555-0142 or 030 / 555 0100", "call [phone], [phone] or [phone]"),
        ("/unsubscribe?to=ada%40example.com", "/unsubscribe?to=[email]"),
    ],
)
def test_addresses_and_numbers_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert mask_texts(pl.Series(["fine", None, text])).to_list() == ["fine", None, masked]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        *[(name, True) for name in ("Billing Phone", "reviewer_email", "ip", "Shipping City", "zip")],
        *[(name, True) for name in ("Straße", "Prénom")],
        *[(name, False) for name in ("description", "item_id", "price", "Lineitem name", "capacity")],
    ],
)
def test_columns_of_persons(column: str, expected: bool) -> None:
    assert is_personal(column) is expected


def test_nested_values_lose_their_persons_too() -> None:
    assert mask_row({"billing": '{"phone": "1234", "country": "NO"}', "sku": "A"}).count("1234") == 0


def test_no_byte_of_a_person_is_in_the_workspace_or_the_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    with pytest.raises(DataError) as refused:
        take(workspace, spec_of(tmp_path / "bad", {"orders.csv": ORDERS.replace("2026-03-02", "never")}))
    assert "@" not in str(refused.value)
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
    assert rows(workspace, "events").height == 101
    stored = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()).lower()
    assert not [secret for secret in SECRETS if secret in stored]


def test_addresses_can_stay_user_ids_but_never_both(tmp_path: Path) -> None:
    plain, hashed = (Workspace(tmp_path / name) for name in ("plain", "hashed"))
    keep = SourceOptions(keep_user_ids=True)
    files = {"orders.csv": ORDERS}
    take(plain, spec_of(tmp_path / "files", files, keep))
    assert "Ada@Example.com" in rows(plain, "events")["user_id"].to_list()
    with pytest.raises(DataError, match="go on with --keep-user-ids"):
        take(plain, spec_of(tmp_path / "files", files))
    take(hashed, spec_of(tmp_path / "files", files))
    with pytest.raises(DataError, match="leave the option out"):
        take(hashed, spec_of(tmp_path / "files", files, keep))


def test_an_address_of_another_file_is_the_same_shopper(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
    expected = UserIds.of(workspace).pseudonym("ada@example.com")
    assert expected in rows(workspace, "events")["user_id"].to_list()


def test_masking_takes_time_in_proportion_to_the_text() -> None:
    text = "a" * 1_000_000 + " @ "
    assert mask(text) == text  # a search from every letter would take an hour


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("orders.csv", ORDERS + "bo@example.com,i1,view,2026-03-02,,Bo Sampleton,,,one,two\n"),
        (
            "orders.jsonl",
            "".join(
                f'{{"user_id": "c{n}", "item_id": "i1", "event_type": "view", "timestamp": "2026-03-02"}}\n'
                for n in range(100)
            )
            + '{"billing": {"name": "Bo Sampleton"}, "item_id":\n',
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_not_stored_where_it_may_name_a_person(
    tmp_path: Path, name: str, content: str
) -> None:
    workspace = Workspace(tmp_path / "shop")
    take(workspace, spec_of(tmp_path / "files", {name: content}))
    stored = pl.concat([pl.read_parquet(path) for path in workspace.quarantine.rglob("*.parquet")])
    assert "Sampleton" not in str(stored.to_dicts())
    assert "not stored: the file has columns of persons" in " ".join(stored["data"])


def test_a_file_without_a_header_is_refused_without_naming_its_first_shopper(tmp_path: Path) -> None:
    files = {"orders.csv": "ada@example.com,i1,+49 30 5550100\nbo@example.com,i2,+49 30 5550101\n"}
    with pytest.raises(DataError, match=r"it has the columns \[email\], i1, \[phone\]"):
        take(Workspace(tmp_path / "shop"), spec_of(tmp_path / "files", files))


def test_ids_with_an_at_sign_that_are_no_addresses_stop_no_later_ingest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    rest = "i1,view,2026-03-02,,,,\n"
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": f"{ORDERS}@handle,{rest}"}))
    report = take(workspace, spec_of(tmp_path / "next", {"orders.csv": f"{ORDERS}di@example.com,{rest}"}))
    assert report.tables[0].n_new == 1

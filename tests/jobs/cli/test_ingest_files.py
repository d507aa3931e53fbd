"""`recsys ingest auto`, `preview` and the options of all formats, as they are typed."""

import http.server
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import jobs.ingest.readers.data_file
from jobs.__main__ import main
from jobs.ingest.files import ingest_new
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.workspace import Workspace

EVENTS = "visitorid,itemid,event,time,STATUS\n" + "".join(
    f"v{n},i{n % 3},{word},2026-03-0{1 + n},{status}\n"
    for n, (word, status) in enumerate([("view", "ok"), ("addtocart", "ok"), ("scroll", "ok"), ("view", "test")])
)
FEED = (
    "id,title,description,link,price,availability\n"
    "A,Mug,Fine,https://shop.example.com/a,5.00 EUR,in_stock\nB,Jar,Fine,https://shop.example.com/b,6.00 EUR,in_stock\n"
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)

Serve = Callable[[bytes, int], str]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shop"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a web server that answers every request with this content and status; returns the URL of a feed."""
    servers = []

    def start(content: bytes, status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers.get("If-None-Match") == '"1"':
                    self.send_response(304)
                    self.end_headers()
                    return
                self.send_response(status)
                self.send_header("ETag", '"1"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/feed.csv"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ingest(shop: Path, *arguments: str) -> int:
    return main(["ingest", *arguments, "--workspace", str(shop)])


def test_values_are_mapped_and_rows_chosen(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.csv").write_text(EVENTS)
    options = (
        *("--map", "events.event_type=event", "--value", "events.event_type:addtocart=cart"),
        *("--value", "events.event_type:scroll=", "--where", "STATUS=ok"),
    )
    assert ingest(shop, "table", "--events", "e.csv", *options) == 0
    output = capsys.readouterr().out
    assert "STATUS is not ok 1" in output and "event is not mapped to a value 1" in output
    assert Lake(shop / "lake").scan("events").collect()["event_type"].sort().to_list() == ["view", "cart"]


def test_a_condition_on_a_missing_column_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.csv").write_text("user_id,item_id,event_type,timestamp\nu,i,view,2026-03-01\n")
    assert ingest(shop, "table", "--events", "e.csv", "--where", "Status=ok") == 2
    assert "has no column 'Status'" in capsys.readouterr().err.replace("\n", " ")


def test_a_preview_changes_nothing_and_names_the_command(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("feed").write_text(FEED)
    assert ingest(shop, "preview", "feed", "--full") == 0
    output = capsys.readouterr().out
    assert "Google Merchant feed" in output and "title Mug" in output
    assert f"recsys ingest auto {Path('feed').absolute()} --workspace {shop} --full" in output
    assert not shop.exists()


def test_rows_of_one_item_are_no_duplicates(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.csv").write_text("Handle,Title,Price\nhat,Felt Hat,10\nhat,,12\nhat,,\nmug,Mug,5\n")
    assert ingest(shop, "table", "--catalog", "c.csv") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "4 rows, 2 items: 2 rows are variants or pictures of an item" in output
    hat = Lake(shop / "lake").scan("catalog").collect().sort("item_id").row(0, named=True)
    assert (hat["title"], hat["price"]) == ("Felt Hat", 12.0)


def test_the_currency_of_prices_is_kept_and_there_is_only_one(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.csv").write_text(
        'item_id,title,price,attributes\na,A,"1.299,00 EUR",\nb,B,5,"{""size"": 3}"\nc,C,EUR 7,"{""size"": 3}"\n'
    )
    assert ingest(shop, "table", "--catalog", "c.csv") == 0
    catalog = Lake(shop / "lake").scan("catalog").collect().sort("item_id")
    assert catalog["price"].to_list() == [1299.0, 5.0, 7.0]
    assert [json.loads(text) for text in catalog["attributes"]] == [
        {"currency": "EUR"},
        {"size": 3},
        {"currency": "EUR", "size": 3},
    ]
    Path("d.csv").write_text("item_id,title,price\nd,D,5 EUR\ne,E,5 USD\n")
    assert ingest(shop, "table", "--catalog", "d.csv") == 2
    assert "prices in EUR (1) and USD (1)" in capsys.readouterr().err.replace("\n", " ")


def test_what_is_no_id_is_refused_with_an_example(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"u,{item},view,2026-03-01" for item in ("[]", "(not set)", "NA", "null", '"[{""id"": 1}]"', "i1")]
    Path("e.csv").write_text("user_id,item_id,event_type,timestamp\n" + "\n".join(lines) + "\n")
    assert ingest(shop, "table", "--events", "e.csv") == 2
    assert "item_id|not_an_id 5; row 1 of" in capsys.readouterr().err.replace("\n", " ")


def test_ids_that_do_not_meet_are_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.csv").write_text("item_id,title\nhat,Felt Hat\n")
    Path("e.csv").write_text("user_id,item_id,event_type,timestamp\nu,SKU-1,view,2026-03-01\n")
    assert ingest(shop, "table", "--catalog", "c.csv", "--events", "e.csv") == 0
    output = capsys.readouterr().out
    assert "SKU-1" in output and "ingest.min_matched_share" in output


def test_dates_are_decided_over_the_whole_column_or_asked_for(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.csv").write_text("user_id,item_id,event_type,timestamp\nu,i,view,03/04/2026\n")
    assert ingest(shop, "table", "--events", "e.csv") == 2
    assert "--date-order dmy or --date-order mdy" in capsys.readouterr().err.replace("\n", " ")
    assert ingest(shop, "table", "--events", "e.csv", "--date-order", "dmy") == 0
    assert Lake(shop / "lake").scan("events").collect()["timestamp"][0].month == 4


def test_a_file_without_a_header_gets_names(shop: Path) -> None:
    Path("e.txt").write_text("u,i,view,2026-03-01\nu,j,view,2026-03-02\n")
    names = "user_id,item_id,event_type,timestamp"
    assert ingest(shop, "auto", "e.txt", "--columns", names) == 0
    assert Lake(shop / "lake").n_rows("events") == 2


def test_a_feed_by_url_is_taken_again_only_when_it_has_changed(
    shop: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    url = serve(FEED.encode(), 200)
    assert ingest(shop, "google-feed", url) == 0
    assert ingest(shop, "google-feed", url) == 0
    assert Lake(shop / "lake").n_rows("catalog") == 2
    sources = json.loads((shop / "lake" / "sources.json").read_text())["sources"]
    assert sources[0]["spec"]["paths"] == {"files": [url]}


def test_a_nightly_run_fetches_a_feed_that_has_changed_and_survives_its_absence(shop: Path) -> None:
    versions = [FEED.encode()]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if versions else 500)
            self.end_headers()
            self.wfile.write(versions[-1] if versions else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    workspace, settings = Workspace(shop), IngestSettings()
    try:
        assert ingest(shop, "google-feed", f"http://127.0.0.1:{server.server_port}/feed.csv") == 0
        assert ingest_new(workspace, settings, NOW) is None
        versions.append(FEED.replace("5.00", "4.00").encode())
        report = ingest_new(workspace, settings, NOW)
        assert report is not None and [(t.n_new, t.n_updated) for t in report.tables] == [(0, 1)]
        versions.clear()
        assert ingest_new(workspace, settings, NOW) is None
    finally:
        server.shutdown()
        server.server_close()


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.csv", b"a,b\n" + b"0,0\n" * 100_000)


def two_sheets(path: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("products").write_row(0, 0, ["id", "title"])
        book.add_worksheet("stock").write_row(0, 0, ["sku", "quantity"])


def text(content: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(content)

    return write


BAD = {
    "cut.xml": (text('<rss version="2.0"><channel><item><id>1</id><price>5</price></item><item><id>2'), "damaged XML"),
    "entities.xml": (text('<!DOCTYPE rss [<!ENTITY x "y">]><rss><item><id>1</id></item></rss>'), "declares entities"),
    "bomb.zip": (bomb, "unpacks to more than"),
    "two.xlsx": (two_sheets, "choose one with --sheet NAME"),
    "page.csv": (text("<!DOCTYPE html><html><body>Sign in</body></html>"), "a web page, not an export"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line_and_changes_nothing(
    name: str, shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.ingest.readers.data_file, "RATIO_COUNTS_FROM", 1_000)
    monkeypatch.setattr(jobs.ingest.readers.data_file, "MAX_RATIO", 10)
    write, message = BAD[name]
    write(Path(name))
    assert ingest(shop, "auto", name) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line and name in line
    assert not Lake(shop / "lake").files


@pytest.mark.parametrize(("status", "message"), [(404, "the server answers 404"), (503, "the server answers 503")])
def test_a_feed_that_cannot_be_fetched_is_one_clear_line(
    status: int, message: str, shop: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ingest(shop, "auto", serve(b"gone", status)) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not Lake(shop / "lake").files


def test_a_server_that_is_not_there_is_one_clear_line(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(shop, "auto", "http://127.0.0.1:1/feed.xml") == 2
    assert "cannot be fetched" in capsys.readouterr().err.replace("\n", " ")


def test_a_file_of_no_known_format_says_what_it_has(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"colour": ["red"], "weight": [1]}).write_csv("x.csv")
    assert ingest(shop, "auto", "x.csv") == 2
    assert "none of the known formats; it has the columns colour, weight" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("content", ["[]", '{"orders": []}', "{}"])
def test_an_answer_without_objects_has_no_rows(content: str, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("orders.json").write_text(content)
    assert ingest(shop, "auto", "orders.json") == 2
    assert "the file has no rows" in capsys.readouterr().err.replace("\n", " ")
    Path("more.csv").write_text(FEED)
    assert ingest(shop, "auto", "orders.json", "more.csv") == 0


def test_another_platforms_file_names_the_right_command(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("feed.csv").write_text(FEED)
    assert ingest(shop, "shopify", "feed.csv") == 2
    assert "use `recsys ingest google-feed`" in capsys.readouterr().err.replace("\n", " ")

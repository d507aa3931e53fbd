"""`recsys ingest` on the command line: output and exit codes."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from shared_data import SHARED_DATA, needs_shared_data

from jobs.__main__ import main
from jobs.lake.lake import Lake

REVIEWS = "user_id,item_id,rating,timestamp\n"


@pytest.fixture(autouse=True)
def plain_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RECSYS_WORKSPACE", "RECSYS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error line of a command that must exit with 2 and print nothing else."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if " INFO " not in line]
    assert len(lines) == 1
    assert lines[0].startswith("recsys: error: ")
    return lines[0].removeprefix("recsys: error: ")


def ingest(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["ingest", "table", "--workspace", "shop", *arguments]) == 0
    return capsys.readouterr().out


def test_a_table_is_ingested_and_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.csv").write_text("uid,item_id,timestamp\nu,i,2024-01-01\nu,,2024-01-01\nu,j,2024-01-02\n")
    Path("recsys.toml").write_text("[ingest]\nmax_bad_share = 0.5\n")
    output = ingest(capsys, "--events", "e.csv", "--map", "events.user_id=uid", "--set", "events.event_type=view")
    row = next(line.split() for line in output.splitlines() if line.split()[:1] == ["events"])
    assert row == ["events", "3", "2", "0", "0", "1", "2"]
    assert "rejected rows of events: names_an_item_or_a_text 1" in output
    assert Lake(tmp_path / "shop" / "lake").n_rows("events") == 2


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("r.csv", "who,item_id,rating,timestamp\nu,i,3,1\n", [], "name it with --map reviews.user_id=COLUMN"),
        ("r.parquet", "hello, I am text", [], "not a Parquet file"),
        ("r.csv", "", [], "the file is empty"),
        ("r.csv", REVIEWS, [], "the file has no rows"),
        ("r.csv", REVIEWS + "u,i,9,2024-01-01\n", [], "rating|max 1"),
        ("r.csv", REVIEWS + "u,i,3,9024-01-01\n", [], "timestamp_in_future 1"),
        ("r.csv.gz", "not zipped", [], "damaged gzip file"),
        ("r.csv", REVIEWS, ["--map", "reviews.itemid=x"], "reviews has no column 'itemid'; did you mean item_id?"),
        ("r.csv", REVIEWS, ["--set", "review.rating=5"], "no table 'review'; did you mean reviews?"),
        ("r.csv", REVIEWS, ["--set", "events.event_type=buy"], "must be one of impression, view"),
        ("r.csv", REVIEWS, ["--map", "reviews.rating"], "write it as --map table.column=value"),
        ("r.csv", REVIEWS, ["--map", "reviews.rating=stars"], "no column 'stars' for reviews.rating"),
        ("r.csv", REVIEWS, ["--map", "reviews.rating=rating", "--set", "reviews.rating=5"], "keep one of them"),
        ("r.csv", REVIEWS, ["--events", "no*.csv"], "no file matches this pattern"),
        ("r.csv", REVIEWS, ["--catalog", "no.csv"], "no such file"),
        ("r.csv", REVIEWS, ["--config", "no.toml"], "no such settings file"),
        ("r.csv", REVIEWS, ["--colour", "red"], "No such option: --colour"),
    ],
)
def test_a_wrong_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], name: str, content: str, arguments: list[str], message: str
) -> None:
    Path(name).write_text(content)
    assert message in failure(capsys, "ingest", "table", "--workspace", "shop", "--reviews", name, *arguments)
    assert Lake(Path("shop/lake")).files == ()


def test_an_event_without_a_type_column_names_the_option_set(capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.csv").write_text("user_id,item_id,timestamp\nu,i,2024-01-01\n")
    message = failure(capsys, "ingest", "table", "--workspace", "shop", "--events", "e.csv")
    assert "--set events.event_type=purchase" in message


def test_no_files_no_workspace_and_no_such_command_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no input files" in failure(capsys, "ingest", "table", "--workspace", "shop")
    assert "--workspace" in failure(capsys, "ingest", "table", "--events", "e.csv")
    assert "No such command" in failure(capsys, "ingset")


def test_the_workspace_can_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.csv.gz").write_bytes(gzip.compress((REVIEWS + "u,i,3,2024-01-01\n").encode()))
    monkeypatch.setenv("RECSYS_WORKSPACE", "elsewhere")
    assert main(["ingest", "table", "--reviews", "r.csv.gz"]) == 0
    assert Lake(Path("elsewhere/lake")).n_rows("reviews") == 1


def test_settings_of_the_workspace_go_before_those_of_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.csv").write_text(REVIEWS + "u,i,3,2024-01-01\nu,i,9,2024-01-01\n")
    Path("recsys.toml").write_text("[ingest]\nmax_bad_share = 0.5\n")
    Path("shop").mkdir()
    Path("shop/recsys.toml").write_text("[ingest]\nmax_bad_share = 0.1\n")
    assert "allows 10.0%" in failure(capsys, "ingest", "table", "--workspace", "shop", "--reviews", "r.csv")
    Path("shop/recsys.toml").write_text("[ingest]\nmax_bad = 0.1\n")
    message = failure(capsys, "ingest", "table", "--workspace", "shop", "--reviews", "r.csv")
    assert "unknown setting ingest.max_bad; did you mean ingest.max_bad_share?" in message


def test_the_sample_storefront_is_simulated_and_ingested(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--products", "60", "--shoppers", "20", "--days", "5"]
    assert main(["ingest", "sample", "--workspace", "shop", *sizes]) == 0
    lake = Lake(Path("shop/lake"))
    assert lake.n_rows("catalog") == 60
    assert lake.n_rows("events") > 0
    assert "rejected rows" not in capsys.readouterr().out


def test_help_needs_neither_ray_nor_torch() -> None:
    code = (
        "import sys\nfrom jobs.__main__ import main\n"
        "assert main(['--help']) == 0\nassert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parents[3])


class TestRealShops:
    pytestmark = needs_shared_data

    def test_a_shop_with_a_few_bad_reviews(self, capsys: pytest.CaptureFixture[str]) -> None:
        renamed = ["review_id=id", "timestamp=ts", "text=review"]
        maps = [part for name in renamed for part in ("--map", f"reviews.{name}")]
        reviews = str(SHARED_DATA / "hasaki" / "reviews.parquet")
        output = ingest(capsys, "--reviews", reviews, *maps)
        assert "rating|min 2" in output
        assert "timestamp|nullability 1" in output
        assert Lake(Path("shop/lake")).n_rows("reviews") == 21_575 - 3

    def test_a_shop_with_reviews_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        renamed = ["item_id=asin", "title=summary", "text=review"]
        maps = [part for name in renamed for part in ("--map", f"reviews.{name}")]
        ingest(capsys, "--reviews", str(SHARED_DATA / "amazon_musical_reviews" / "reviews.parquet"), *maps)
        rows = Lake(Path("shop/lake")).scan("reviews").collect()
        assert (rows.height, rows["timestamp"].dt.year().min(), rows["timestamp"].dt.year().max()) == (5050, 2004, 2014)


def test_an_ingest_is_listed_undone_and_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    header = "user_id,item_id,event_type,timestamp\n"
    Path("e.csv").write_text(header + "u,i,view,2024-01-01\n")
    Path("bad.csv").write_text(header + "u,i,view,2024-01-02\nu,j,view,2024-01-02\n")
    for name in ("e.csv", "bad.csv"):
        ingest(capsys, "--events", name)
    assert main(["ingest", "undo", "2", "--workspace", "shop"]) == 0
    output = capsys.readouterr().out
    assert f"Undone: ingest 2, events 2 new, {Path('bad.csv').absolute()}\n" in output
    assert "`recsys ingest again ID`" in output
    assert failure(capsys, "ingest", "undo", "2", "--workspace", "shop").startswith("ingest 2: already undone at ")
    assert main(["ingest", "history", "--workspace", "shop", "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)
    assert [(change["id"], change["rows"]["events"]["new"], change["undone_at"] is None) for change in changes] == [
        (2, 2, False),
        (1, 1, True),
    ]
    assert changes[1]["source"]["files"][0]["path"] == str(Path("e.csv").absolute())
    assert main(["ingest", "again", "2", "--workspace", "shop"]) == 0
    assert "Ingested again: ingest 3, events 2 new" in capsys.readouterr().out
    assert main(["ingest", "again", "2", "--workspace", "shop"]) == 0
    assert "Nothing to ingest" in capsys.readouterr().out
    assert main(["ingest", "history", "--workspace", "shop"]) == 0
    assert [
        line.split()[0]
        for line in capsys.readouterr().out.splitlines()
        if line.split()[:1] and line.split()[0].isdigit()
    ] == ["3", "2", "1"]
    assert Lake(Path("shop/lake")).n_rows("events") == 3


def test_ids_that_do_not_meet_the_catalogue_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.csv").write_text("item_id,title\nlamp,Lamp\nlamp,\nrug,Rug\n")
    Path("e.csv").write_text("user_id,item_id,event_type,timestamp\n" + "u,SKU-1,view,2024-01-01\n")
    output = ingest(capsys, "--catalog", "c.csv")
    assert "3 rows, 2 items: 1 rows are variants or pictures of an item" in output
    assert "catalogue: 2 items, with 100% title, 0% price, 0% category\n" in output
    assert "warning" not in output
    output = ingest(capsys, "--events", "e.csv")
    assert "it has the items of 0% of 1 events\n" in output
    (warning,) = [line for line in output.splitlines() if line.startswith("warning: ")]
    assert "ingest.min_matched_share" in warning
    assert "not in the catalogue: SKU-1; only in the catalogue: lamp, rug" in warning
    Path("recsys.toml").write_text("[ingest]\nmin_matched_share = 0\n")
    assert "warning" not in ingest(capsys, "--events", "e.csv")


def test_a_catalogue_that_the_encoder_cannot_read_is_a_warning_with_the_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("c.csv").write_text("item_id,title\n1,新蓝牙耳机 降噪\n2,机械键盘 青轴\n3,保温杯 500ml\n", encoding="utf-8")
    assert main(["ingest", "table", "--workspace", "chinese", "--catalog", "c.csv"]) == 0
    out = capsys.readouterr().out
    assert "warning: the encoder does not know" in out
    assert "Chinese characters" in out
    assert "set encoder.model" in out


def test_a_catalogue_that_the_encoder_can_read_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.csv").write_text("item_id,title\n1,Nồi cơm điện\n2,Küchenmaschine\n", encoding="utf-8")
    assert main(["ingest", "table", "--workspace", "readable", "--catalog", "c.csv"]) == 0
    assert "encoder" not in capsys.readouterr().out

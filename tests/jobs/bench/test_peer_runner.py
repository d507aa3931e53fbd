import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jobs.__main__ import main
from jobs.bench import peer_runner
from jobs.bench.data import META, Meta
from jobs.bench.measured_process import ModelRun, run_process
from jobs.bench.peer_runner import DETERMINISTIC_PEERS, REQUIREMENTS, SCRIPT, peers_python, run_peer
from jobs.bench.peers import models
from jobs.bench.peers.models import LISTED, PEERS, Peer, PeerLists, Side, last_of_pairs, lists_of, ndcg, read_side
from recsys.config import Settings
from recsys.errors import DataError

START = datetime(2024, 1, 1, tzinfo=UTC)
TO_LINK = "import os, sys; os.makedirs(sys.argv[1] + '/bin'); os.symlink(sys.executable, sys.argv[1] + '/bin/python')"


def quiet(what: str, done: int, total: int | None) -> None:
    pass


def stub_install(monkeypatch: pytest.MonkeyPatch, *codes: str) -> None:
    """Replace the installation by these lines of Python; sys.argv[1] is the draft folder."""
    commands = [[sys.executable, "-c", code] for code in codes]
    monkeypatch.setattr(peer_runner, "_commands", lambda draft: [[*command, str(draft)] for command in commands])


def test_an_environment_is_installed_once_and_named_by_its_requirements(tmp_path: Path, monkeypatch) -> None:
    stub_install(monkeypatch, TO_LINK)
    steps: list[str] = []
    python = peers_python(tmp_path / "cache", lambda what, *_: steps.append(what))
    stub_install(monkeypatch, "raise SystemExit('called again')")
    assert peers_python(tmp_path / "cache", lambda what, *_: steps.append(what)) == python
    assert steps == ["peers: install"]
    assert python.exists() and python.parents[2] == tmp_path / "cache"
    other = tmp_path / "requirements.txt"
    other.write_text("lenskit==2024.1\n")
    monkeypatch.setattr(peer_runner, "REQUIREMENTS", other)
    stub_install(monkeypatch, TO_LINK)
    assert peers_python(tmp_path / "cache", quiet).parents[1] != python.parents[1]


def test_a_failed_installation_leaves_nothing_and_quotes_pip(tmp_path: Path, monkeypatch) -> None:
    stub_install(monkeypatch, TO_LINK, "print('ERROR: no matching distribution'); print('a hint'); raise SystemExit(1)")
    message = r"--peers: installing the other libraries failed: ERROR: no matching distribution; .* leave out --peers"
    with pytest.raises(DataError, match=message):
        peers_python(tmp_path, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["peers.lock"]


def test_a_killed_installation_is_not_used(tmp_path: Path, monkeypatch) -> None:
    """If the process dies before the rename, only the draft exists, and the next call installs again."""
    stub_install(monkeypatch, TO_LINK, "raise SystemExit(1)")
    with monkeypatch.context() as patch:
        patch.setattr(peer_runner.shutil, "rmtree", lambda *_, **__: None)  # a dead process clears nothing away
        with pytest.raises(DataError):
            peers_python(tmp_path, quiet)
    (draft,) = tmp_path.glob("*.new")
    assert (draft / "bin" / "python").exists()
    stub_install(monkeypatch, TO_LINK)
    python = peers_python(tmp_path, quiet)
    assert python.exists() and not draft.exists()


def test_an_environment_without_its_interpreter_is_installed_again(tmp_path: Path, monkeypatch) -> None:
    stub_install(monkeypatch, TO_LINK)
    python = peers_python(tmp_path, quiet)
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert peers_python(tmp_path, quiet).exists()


def test_every_library_is_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in lines)
    assert {"RecTools", "lenskit", "torch", "pyarrow"} <= {line.split("==")[0] for line in lines}
    assert set(PEERS) >= DETERMINISTIC_PEERS


def test_the_script_needs_nothing_of_the_project() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert not [line for line in lines if line.lstrip().startswith(("from jobs", "from recsys", "from features"))]


def test_the_last_event_of_each_pair_counts_oldest_first() -> None:
    users = np.array([0, 1, 0, 0, 1, 0])
    items = np.array([5, 5, 5, 6, -1, 7])
    times = np.array([1, 4, 9, 3, 8, 2])
    assert last_of_pairs(users, items, times).tolist() == [5, 3, 1, 2]
    nothing = np.zeros(0, dtype=np.int64)
    assert last_of_pairs(nothing, nothing, nothing).tolist() == []


def made_of(*rows: tuple[int, int, float]) -> PeerLists:
    users, items, scores = zip(*rows, strict=True)
    return np.array(users), np.array(items), np.array(scores)


def test_recommendations_in_any_order_become_lists_best_first() -> None:
    lists = lists_of(
        made_of((7, 1, 0.5), (2, 4, 0.1), (7, 3, 0.9), (7, 2, float("nan")), (2, 5, 0.2)), np.array([7, -1, 2, 9])
    )
    assert lists.items[:, :3].tolist() == [[3, 1, -1], [-1, -1, -1], [5, 4, -1], [-1, -1, -1]]
    assert lists.items.shape == lists.scores.shape == (4, LISTED)
    assert np.isneginf(lists.scores[lists.items < 0]).all()
    assert lists.scores[0, :2].tolist() == [0.9, 0.5]


def test_a_long_list_is_cut_after_the_best() -> None:
    rows = [(0, item, float(item)) for item in range(LISTED + 5)]
    assert lists_of(made_of(*rows), np.array([0])).items[0].tolist() == list(range(LISTED + 4, 4, -1))


def test_ties_count_against_the_target_and_what_is_not_listed_ranks_last() -> None:
    lists = lists_of(made_of(*[(0, item, score) for item, score in enumerate([3.0, 2.0, 2.0, 1.0])]), np.array([0] * 6))
    assert lists.ranks(np.array([0, 1, 2, 3, 9, -1])).tolist() == [0, 2, 2, 3, LISTED, LISTED]


def test_ndcg_has_one_target_per_user() -> None:
    assert ndcg(np.array([0, 2, 9, 10])) == pytest.approx((1 + 1 / 2 + 1 / np.log2(11)) / 4)


def saved(folder: Path, meta: dict[str, object]) -> Path:
    """a buys x, y, then x again, and searches; b buys y. In the test, there is also a new shopper c."""
    rows: list[tuple[str, str | None, int, str]] = [("a", "x", 0, "purchase"), ("a", "y", 1, "purchase")]
    rows += [("a", "x", 2, "purchase"), ("b", "y", 3, "purchase")]
    rows += [("a", None, 4, "search"), ("b", "z", 5, "search")]
    events = pl.DataFrame(
        [(user, item, START + timedelta(hours=hour), kind) for user, item, hour, kind in rows],
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "event_type": pl.Enum(["search", "purchase"]),
        },
        orient="row",
    )
    pairs = {"user_id": ["a", "b", "c"], "item_id": ["z", "x", "y"]}
    folder.mkdir()
    pl.DataFrame({"item_id": ["w", "x", "y", "z"]}).write_parquet(folder / "items.parquet")
    for name in ("validation", "test"):
        events.write_parquet(folder / f"{name}_events.parquet")
        targets = pl.DataFrame({**pairs, "timestamp": [START + timedelta(days=1)] * 3})
        targets.write_parquet(folder / f"{name}_targets.parquet")
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize(("meta", "hide"), [({}, True), ({"repeats": False}, True), ({"repeats": True}, False)])
def test_a_side_is_read_from_the_folder_that_a_benchmark_writes(tmp_path: Path, meta, hide: bool) -> None:
    side = read_side(saved(tmp_path / "bench", meta), "test", "test_targets.parquet")
    assert side.items.tolist() == [2, 1, 2]  # a's y, a's x at its last time, b's y
    assert side.users[0] == side.users[1] != side.users[2]
    assert (np.diff(side.times) == 3_600_000_000).all()
    assert side.target_users.tolist() == [side.users[0], side.users[2], -1]
    assert side.target_items.tolist() == [3, 1, 2]
    assert side.hide is hide


def test_a_peer_is_tuned_on_validation_and_refitted(tmp_path: Path, monkeypatch) -> None:
    """The peer recommends item 3 and then `item`, with which b's target 1 has rank 2."""
    fitted: list[tuple[object, int]] = []

    def fit(side: Side, chosen, seed: int):
        fitted.append((chosen["item"], seed))
        return lambda users: made_of(*[row for user in users for row in ((user, 3, 1.0), (user, chosen["item"], 0.5))])

    monkeypatch.setattr(models, "PEERS", {"peer": Peer(fit, [{"item": 0}, {"item": 1}, {"item": 2}])})
    folder = saved(tmp_path / "bench", {})
    pl.read_parquet(folder / "validation_targets.parquet").write_parquet(folder / "validation_users.parquet")
    assert models.main([str(folder), "peer", "4", str(tmp_path / "out")]) == 0
    assert fitted == [(0, 4), (1, 4), (2, 4), (1, 4)]
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["chosen"] == {"item": 1, "validation": round((1 + 1 / np.log2(3)) / 3, 4)}
    assert figures["fit_s"] >= 0 and figures["peak_mb"] > 10
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["ranks"].tolist() == [0, 1, LISTED]
        assert arrays["shown"].shape == (3, 10)
        assert arrays["shown"][:, :3].tolist() == [[3, 1, -1], [3, 1, -1], [-1, -1, -1]]


def test_without_known_users_the_peer_is_not_called(tmp_path: Path) -> None:
    def recommend(users: np.ndarray) -> PeerLists:
        raise AssertionError("nobody to recommend to")

    nobody = np.array([-1, -1])
    side = Side(nobody[:0], nobody[:0], nobody[:0], nobody, np.array([0, 1]), hide=True)
    assert models._listed(recommend, side).ranks(side.target_items).tolist() == [LISTED, LISTED]


def script(tmp_path: Path, monkeypatch, code: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(f"import json, sys\nimport numpy as np\nfolder, model, seed, out = sys.argv[1:]\n{code}\n")
    monkeypatch.setattr(peer_runner, "SCRIPT", path)


def bench_folder(tmp_path: Path, max_targets: int) -> Path:
    settings = Settings.model_validate({"fusion": {"max_targets": max_targets}})
    meta = META.dump_json(Meta("temporal", repeats=False, settings=settings, validation=START, test=START))
    return saved(tmp_path / "bench", json.loads(meta))


def test_the_files_of_a_peer_are_read_and_its_output_is_not_shown(tmp_path: Path, monkeypatch, capfd) -> None:
    code = "print('loud')\nnp.savez(out + '.npz', ranks=np.arange(3), shown=np.zeros((3, 10), dtype=int))\n"
    code += (
        "json.dump({'fit_s': 1.5, 'peak_mb': 2.0, 'chosen': {'model': model, 'seed': seed}}, open(out + '.json', 'w'))"
    )
    script(tmp_path, monkeypatch, code)
    folder = bench_folder(tmp_path, max_targets=2)
    ranks, shown, figures = run_peer(Path(sys.executable), folder, "RecTools ALS", 7)
    assert ranks.tolist() == [0, 1, 2] and shown.shape == (3, 10)
    assert figures == ModelRun(1.5, 2.0, {"model": "RecTools ALS", "seed": "7"})
    assert "loud" not in capfd.readouterr().out
    assert len(pl.read_parquet(folder / "validation_users.parquet")) == 2  # as many as our models are tuned on


def test_a_failing_peer_is_named_with_its_error_and_the_remedy(tmp_path: Path, monkeypatch) -> None:
    script(tmp_path, monkeypatch, "raise ValueError('no gradient')")
    message = r"model 'RecTools SASRec' failed: ValueError: no gradient; if its libraries are damaged, delete .* and"
    with pytest.raises(DataError, match=message):
        run_peer(Path(sys.executable), bench_folder(tmp_path, 9), "RecTools SASRec", 0)


def test_objects_in_a_result_are_never_unpickled(tmp_path: Path) -> None:
    code = "import json, sys, numpy as np; out = sys.argv[1]\n"
    code += "json.dump({'fit_s': 1.0, 'peak_mb': 1.0, 'chosen': {}}, open(out + '.json', 'w'))\n"
    code += "np.savez(out + '.npz', ranks=np.array([{}], dtype=object), shown=np.zeros((1, 10)))"
    with pytest.raises(ValueError, match="allow_pickle=False"):
        run_process([sys.executable, "-c", code], "peer", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "popularity,RecTools ALS"], "--models RecTools ALS: no such model; add --peers"),
        (
            ["--peers", "--models", "svd"],
            "--models svd: no such model; choose from RecTools SASRec, RecTools ALS, LensKit",
        ),
    ],
)
def test_a_peer_needs_the_option_peers(tmp_path: Path, monkeypatch, capsys, options, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    files = ["--events", "absent.csv", "--json", "out.json", "--workspace", "kept"]
    assert main(["bench", "quality", *files, *options]) == 2
    assert message in capsys.readouterr().err


FIVE_USERS = "".join(f"u{user},p{(user + n) % 6},2024-01-{1 + n + user:02}\n" for user in range(5) for n in range(4))


def test_peers_are_in_the_table_and_the_json(tmp_path: Path, tiny_bert: Path, monkeypatch, capsys) -> None:
    """The rank is the seed: ALS runs with 0 and 1; item-item, which is deterministic, only with 0."""
    code = "import pyarrow.parquet as pq\nn = len(pq.read_table(folder + '/test_targets.parquet'))\n"
    code += "np.savez(out + '.npz', ranks=np.full(n, int(seed)), shown=np.zeros((n, 10), dtype=int))\n"
    code += "json.dump({'fit_s': 1.0, 'peak_mb': 20.0, 'chosen': {'alpha': 4}}, open(out + '.json', 'w'))"
    script(tmp_path, monkeypatch, code)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(peer_runner, "peers_python", lambda cache, progress: Path(sys.executable))
    (tmp_path / "e.csv").write_text("user_id,item_id,timestamp\n" + FIVE_USERS)
    (tmp_path / "recsys.toml").write_text(f'[encoder]\nmodel = "{tiny_bert}"\n')
    out = tmp_path / "out.json"
    options = ["--events", str(tmp_path / "e.csv"), "--config", str(tmp_path / "recsys.toml"), "--json", str(out)]
    options += ["--peers", "--models", "popularity,RecTools ALS,LensKit item-item", "--seeds", "2"]
    assert main(["bench", "quality", *options]) == 0
    rows = {row["model"]: row for row in json.loads(out.read_text())["rows"] if row["slice"] == "all"}
    assert list(rows) == ["popularity", "RecTools ALS", "LensKit item-item"]
    assert rows["LensKit item-item"]["ndcg@10"] == 1.0
    assert rows["RecTools ALS"]["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2, abs=1e-6)  # ranks 0, then 1
    assert "RecTools ALS" in capsys.readouterr().out

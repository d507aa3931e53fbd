from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_inputs import NOW, bench_data, spec_of

from features.encoder.encoder import load_encoder
from jobs.bench.data import BenchData, read_bench
from recsys.config import Settings
from recsys.workspace import Workspace


def test_saved_data_is_loaded_unchanged(tmp_path: Path) -> None:
    data = replace(bench_data(), repeats=True, read_text=np.eye(8, dtype=np.float32)[:3])
    data.save(tmp_path / "bench")
    again = BenchData.load(tmp_path / "bench")
    assert again.items.equals(data.items) and again.settings == data.settings
    assert (again.protocol, again.repeats) == ("leave-one-out", True)
    np.testing.assert_array_equal(again.text, data.text)
    np.testing.assert_array_equal(again.read_text, data.read_text)
    for mine, loaded in ((data.test, again.test), (data.validation, again.validation)):
        assert loaded.events.equals(mine.events)
        assert loaded.targets.equals(mine.targets)
        assert loaded.as_of == mine.as_of


def test_events_without_a_type_are_purchases_and_items_need_no_catalogue(tmp_path: Path, tiny_bert: Path) -> None:
    rows = "".join(f"u{user},i{(user + n) % 7},2024-01-{1 + n + user:02}\n" for user in range(5) for n in range(4))
    settings = Settings.model_validate({"encoder": {"model": str(tiny_bert)}})
    spec = spec_of(tmp_path, "user_id,item_id,timestamp\n" + rows)
    data = read_bench(spec, "leave-one-out", Workspace(tmp_path / "kept"), settings, NOW, lambda *_: None)
    assert data.test.events["event_type"].unique().to_list() == ["purchase"]
    assert data.items["item_id"].to_list() == [f"i{n}" for n in range(7)]
    assert not data.text.any()
    assert len(data.test.targets) == 5
    assert not data.repeats


def test_page_texts_after_the_target_are_not_read(tmp_path: Path, tiny_bert: Path) -> None:
    """u views and reads about a, b, c in turn: when c is the target, only the texts of a and b are known."""
    rows = "".join(f"u,{item},view,2024-01-0{day},w{day}\n" for day, item in enumerate("abc", start=1))
    settings = Settings.model_validate({"encoder": {"model": str(tiny_bert)}})
    spec = spec_of(tmp_path, "user_id,item_id,event_type,timestamp,text\n" + rows)
    data = read_bench(spec, "leave-one-out", Workspace(tmp_path / "kept"), settings, NOW, lambda *_: None)
    w1, w2 = load_encoder(settings.encoder).encode(["w1", "w2"])
    for held_out, vectors in ((data.test, [w1, w2]), (data.validation, [w1])):
        read = data.inputs(held_out).read
        assert read["user_id"].to_list() == ["u"] * len(vectors)
        np.testing.assert_allclose(data.read_text[read["text_row"].to_numpy()], vectors, atol=1e-5)
        assert data.inputs(held_out, with_text=False).read.is_empty()
        assert data.inputs(held_out).events["item_id"].to_list() == ["a", "b"][: len(vectors)]

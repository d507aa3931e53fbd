"""A tiny encoder that can be tuned in no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from features.encoder import Encoder
from features.finetune.tuning import load_trainable
from recsys import config

N_WORDS = 40
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices only wait for each other on more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT: 2 layers of 32 dimensions, dropout .1, WordPiece over the words w0 to w39."""
    folder = tmp_path_factory.mktemp("bert")
    words = [*SPECIAL, *(f"w{i}" for i in range(N_WORDS))]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def load(bert_folder: Path) -> Callable[[], Encoder]:
    """Loads the tiny encoder anew, as training is to find it."""
    return lambda: load_trainable(config.Encoder(model=str(bert_folder)), config.Finetune())


@pytest.fixture
def encoder(load: Callable[[], Encoder]) -> Encoder:
    return load()

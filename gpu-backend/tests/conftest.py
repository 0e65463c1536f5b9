"""Small models that every test can afford."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, MistralConfig, PreTrainedConfig, Qwen2Config

from sortie.data.encode import Encoder, open_tokenizer
from sortie.nested import NestedModel, fresh

# Models this small take longer with more threads, several times as long beside other work.
torch.set_num_threads(1)

TINY = Path(__file__).parents[2] / "models" / "tiny"
EXITS = (1, 2, 4)
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "llama, own head": LlamaConfig(**{**SIZES, "tie_word_embeddings": False}),
    "mistral, window 8": MistralConfig(**SIZES, sliding_window=8, head_dim=8),
    "qwen2": Qwen2Config(**SIZES),
}


@pytest.fixture(params=list(CONFIGS))
def any_model(request: pytest.FixtureRequest) -> NestedModel:
    return fresh(CONFIGS[request.param], EXITS, seed=0).eval()


@pytest.fixture
def model() -> NestedModel:
    return fresh(CONFIGS["llama"], EXITS, seed=0).eval()


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(3, 64, (3, 17), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder(open_tokenizer(TINY), 4096)

"""The nested model against stock transformers, and the sorted loss against its definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

from sortie.first.nested import NestedModel, Shape, load, save
from sortie.first.objectives import IGNORE, exit_losses, sorted_loss

SHAPE = Shape(d=32, layers=4, heads=4, kv=2, ffn=48, vocab=64, context=64, exits=(1, 2, 4))


@pytest.fixture
def model() -> NestedModel:
    torch.manual_seed(0)
    return NestedModel(SHAPE)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, SHAPE.vocab, (3, 17), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("exit_layer", SHAPE.exits)
def test_an_exit_is_the_truncated_checkpoint_in_stock_transformers(
    tmp_path: Path, ids: torch.Tensor, exit_layer: int
) -> None:
    torch.manual_seed(0)
    save(NestedModel(SHAPE), tmp_path, eos=2, bos=1, pad=0)
    ours = load(tmp_path)  # what was saved: rounded to bfloat16
    stock = LlamaForCausalLM.from_pretrained(tmp_path, num_hidden_layers=exit_layer, dtype=torch.float32)
    with torch.inference_mode():
        expected = stock(ids).logits
        got = ours.logits(ours.exit_hidden(ids)[exit_layer])
    assert (got - expected).abs().max() < 1e-4


def test_a_checkpoint_survives_saving_and_loading(tmp_path: Path, model: NestedModel) -> None:
    save(model, tmp_path, eos=2, bos=1, pad=0)
    loaded = load(tmp_path)
    assert loaded.shape == SHAPE
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.to(torch.bfloat16).float()), name


def test_layers_beyond_the_exit_do_not_run(model: NestedModel, ids: torch.Tensor) -> None:
    model.blocks[2].qkv.data.fill_(float("nan"))
    hidden = model.exit_hidden(ids, up_to=2)
    assert set(hidden) == {1, 2}
    assert hidden[2].isfinite().all()


def test_right_padding_changes_nothing_before_it(model: NestedModel, ids: torch.Tensor) -> None:
    padded = F.pad(ids, (0, 5), value=0)
    for k, hidden in model.exit_hidden(ids).items():
        assert torch.allclose(model.exit_hidden(padded)[k][:, :17], hidden, atol=1e-5)


def test_the_sorted_loss_and_its_gradient_are_the_mean_over_exits(model: NestedModel, ids: torch.Tensor) -> None:
    labels = torch.where(torch.rand(ids.shape) < 0.5, IGNORE, ids.roll(-1, 1))
    loss = sorted_loss(exit_losses(model, model.exit_hidden(ids), labels))
    loss.backward()
    gradient = model.embedding.grad.clone()

    model.zero_grad()
    naive = torch.stack(
        [
            F.cross_entropy(model.logits(hidden).flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
            for hidden in model.exit_hidden(ids).values()
        ]
    ).mean()
    naive.backward()
    assert torch.allclose(loss, naive, atol=1e-6)
    assert torch.allclose(gradient, model.embedding.grad, atol=1e-6)

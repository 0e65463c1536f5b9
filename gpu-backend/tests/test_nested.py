"""The nested model against stock transformers; packing; checkpoints that survive."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import CONFIGS, EXITS
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config

from sortie.errors import UserError
from sortie.nested import NestedModel, fresh, open_checkpoint, save_checkpoint, truncate
from sortie.view import write_view


@pytest.mark.parametrize("exit_layer", EXITS)
def test_an_exit_is_bit_for_bit_the_truncated_model(any_model: NestedModel, ids: torch.Tensor, exit_layer: int) -> None:
    with torch.inference_mode():
        ours = any_model.logits(any_model.exit_hidden(ids)[exit_layer])
        stock = truncate(any_model, exit_layer).lm(ids).logits
    assert torch.equal(ours, stock)


@pytest.mark.parametrize("exit_layer", EXITS)
def test_a_view_loads_in_stock_transformers_with_the_same_logits(
    tmp_path: Path, any_model: NestedModel, ids: torch.Tensor, exit_layer: int
) -> None:
    save_checkpoint(any_model, tmp_path / "whole")
    write_view(tmp_path / "whole", exit_layer, tmp_path / "view", torch.float32)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "view", dtype=torch.float32).eval()
    assert stock.config.num_hidden_layers == exit_layer
    with torch.inference_mode():
        assert torch.equal(stock(ids).logits, any_model.logits(any_model.exit_hidden(ids)[exit_layer]))


def test_a_checkpoint_survives_saving_and_loading(tmp_path: Path, any_model: NestedModel) -> None:
    save_checkpoint(any_model, tmp_path, torch.bfloat16)
    loaded = open_checkpoint(tmp_path)
    assert loaded.lm.config.dtype == torch.float32
    assert AutoConfig.from_pretrained(tmp_path).dtype == torch.bfloat16
    assert loaded.exits == EXITS
    for name, weight in any_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.to(torch.bfloat16).float()), name


@pytest.mark.parametrize("kind", ["linear", "balcony"])
def test_heads_of_the_exits_survive_and_make_views(tmp_path: Path, ids: torch.Tensor, kind: str) -> None:
    model = NestedModel(fresh(CONFIGS["llama"], EXITS, seed=0).lm, EXITS, kind).eval()
    with torch.no_grad():
        for parameter in model.exit_heads.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.1
    save_checkpoint(model, tmp_path / "whole")
    loaded = open_checkpoint(tmp_path / "whole").eval()
    with torch.inference_mode():
        expected = {k: model.logits(h, k) for k, h in model.exit_hidden(ids).items()}
        shared = NestedModel(model.lm, EXITS)
        assert not torch.equal(expected[1], shared.logits(shared.exit_hidden(ids)[1]))
        for k, hidden in loaded.exit_hidden(ids).items():
            assert torch.equal(loaded.logits(hidden, k), expected[k])
            write_view(tmp_path / "whole", k, tmp_path / f"view-{k}", torch.float32)
            stock = AutoModelForCausalLM.from_pretrained(tmp_path / f"view-{k}", dtype=torch.float32).eval()
            assert torch.allclose(stock(ids).logits, expected[k], atol=1e-6)


def test_layers_beyond_the_exit_do_not_run(model: NestedModel, ids: torch.Tensor) -> None:
    model.lm.model.layers[2].mlp.up_proj.weight.data.fill_(float("nan"))
    hidden = model.exit_hidden(ids, up_to=2)
    assert set(hidden) == {1, 2}
    assert hidden[2].isfinite().all()


def test_a_skipped_layer_does_not_run(model: NestedModel, ids: torch.Tensor) -> None:
    model.lm.model.layers[1].mlp.up_proj.weight.data.fill_(float("nan"))
    assert model.exit_hidden(ids, skipped={2})[4].isfinite().all()


def test_packed_rows_do_not_see_each_other(any_model: NestedModel, ids: torch.Tensor) -> None:
    one, two = ids[0, :9], ids[1, :6]
    packed = torch.cat([one, two, torch.zeros(2, dtype=torch.long)])[None]
    segments = torch.tensor([[0] * 9 + [1] * 6 + [-1] * 2])
    with torch.inference_mode():
        together = any_model.exit_hidden(packed, segments)
        for k, hidden in together.items():
            assert torch.allclose(hidden[0, :9], any_model.exit_hidden(one[None])[k][0], atol=1e-5)
            assert torch.allclose(hidden[0, 9:15], any_model.exit_hidden(two[None])[k][0], atol=1e-5)


@pytest.mark.parametrize("exits", [(), (0, 4), (2, 1, 4), (1, 1, 4), (1, 3), (1, 5)])
def test_exits_that_cannot_be_are_refused(exits: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="exits"):
        fresh(CONFIGS["llama"], exits, seed=0)


def test_a_layer_that_is_no_exit_has_no_view(model: NestedModel) -> None:
    with pytest.raises(UserError, match="layer 3 is no exit; exits are 1, 2, 4"):
        truncate(model, 3)


def test_other_architectures_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="model_type is 'gpt2'"):
        fresh(GPT2Config(), (12,), seed=0)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        open_checkpoint(tmp_path)

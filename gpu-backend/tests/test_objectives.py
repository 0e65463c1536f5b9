"""Losses against their definitions, and what each objective trains."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import CONFIGS, EXITS

from sortie.data.packing import Batch
from sortie.errors import UserError
from sortie.losses import IGNORE, Lesson, exit_losses
from sortie.nested import NestedModel, fresh
from sortie.objectives import PRESETS, SortedObjective, objective_of, prepare


@pytest.fixture
def batch(ids: torch.Tensor) -> Batch:
    labels = torch.where(
        torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < 0.4, IGNORE, ids.roll(-1, 1)
    )
    return Batch(ids, labels, torch.zeros_like(ids))


def naive_cross_entropy(model: NestedModel, batch: Batch) -> dict[int, torch.Tensor]:
    return {
        k: F.cross_entropy(
            model.logits(hidden, k).flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        for k, hidden in model.exit_hidden(batch.ids, batch.segments).items()
    }


def gradients(model: NestedModel) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, theirs[name], rtol=1e-4, atol=1e-5), name


def test_the_sorted_loss_and_its_gradient_are_the_mean_over_exits(model: NestedModel, batch: Batch) -> None:
    loss = SortedObjective(model, objective_of("soft"))(batch, 0)
    loss.total.backward()
    ours = gradients(model)
    naive = naive_cross_entropy(model, batch)
    mean = torch.stack(list(naive.values())).mean()
    mean.backward()
    assert torch.allclose(loss.total, mean, rtol=1e-5)
    assert_same_gradients(ours, gradients(model))
    for k, value in naive.items():
        assert torch.allclose(loss.exits[k], value, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("distilled", ["not", "from the deepest", "from a teacher"])
def test_a_chunked_loss_equals_the_plain_one(model: NestedModel, batch: Batch, rows: int, distilled: str) -> None:
    teacher = fresh(CONFIGS["llama"], EXITS, seed=9)
    lesson = Lesson(teacher, teacher.exit_hidden(batch.ids)[4].detach()) if distilled == "from a teacher" else None

    def run(size: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        hidden = model.exit_hidden(batch.ids)
        entropy, divergence = exit_losses(model, hidden, batch.labels, distilled != "not", lesson, size)
        total = torch.stack([*entropy.values(), *divergence.values()]).sum()
        total.backward()
        return total, gradients(model)

    plain, plain_gradients = run(10_000)
    chunked, chunked_gradients = run(rows)
    assert torch.allclose(plain, chunked, rtol=1e-5)
    assert_same_gradients(chunked_gradients, plain_gradients)


def test_distillation_is_kl_from_the_deepest_exit_and_leaves_it_alone(model: NestedModel, batch: Batch) -> None:
    hidden = model.exit_hidden(batch.ids)
    leaves = {k: h.detach().requires_grad_() for k, h in hidden.items()}
    _, divergence = exit_losses(model, leaves, batch.labels, distilled=True)
    keep = batch.labels != IGNORE
    teacher = model.logits(hidden[4][keep]).softmax(-1)
    for k in (1, 2):
        student = model.logits(hidden[k][keep]).softmax(-1)
        expected = (teacher * (teacher / student).log()).sum()
        assert torch.allclose(divergence[k], expected, rtol=1e-4)
    assert divergence[4] == 0
    sum(divergence.values()).backward()
    assert leaves[4].grad is None or not leaves[4].grad.any()
    assert leaves[1].grad.any()


def test_a_teacher_teaches_every_exit_and_stays_as_it_is(model: NestedModel, batch: Batch) -> None:
    teacher = fresh(CONFIGS["llama"], EXITS, seed=9)
    module = SortedObjective(model, objective_of("soft", distill=0.25), teacher=teacher)
    loss = module(batch, 0)
    loss.total.backward()
    keep = batch.labels != IGNORE
    told = teacher.logits(teacher.exit_hidden(batch.ids)[4][keep]).softmax(-1)
    expected = []
    for k, entropy in naive_cross_entropy(model, batch).items():
        learnt = model.logits(model.exit_hidden(batch.ids)[k][keep]).softmax(-1)
        expected.append(0.75 * entropy + 0.25 * (told * (told / learnt).log()).sum())
    assert torch.allclose(loss.total, torch.stack(expected).mean(), rtol=1e-4)
    assert all(p.grad is None for p in teacher.parameters())
    assert not any("teacher" in name for name in module.state_dict())


def test_a_teacher_that_cannot_teach_is_refused(model: NestedModel) -> None:
    with pytest.raises(UserError, match="needs --distill"):
        SortedObjective(model, objective_of("soft"), teacher=model)
    other = copy.deepcopy(CONFIGS["llama"])
    other.vocab_size += 1
    with pytest.raises(UserError, match="--teacher knows"):
        SortedObjective(model, objective_of("soft", distill=0.5), teacher=fresh(other, EXITS, seed=0))


def test_sft_trains_the_deepest_exit_alone(model: NestedModel, batch: Batch) -> None:
    loss = SortedObjective(model, objective_of("sft"))(batch, 0)
    assert torch.allclose(loss.total, naive_cross_entropy(model, batch)[4], rtol=1e-5)


@pytest.mark.parametrize("name", ["sft+ict", "balcony"])
def test_frozen_objectives_train_heads_alone(batch: Batch, name: str) -> None:
    objective = objective_of(name)
    model = prepare(fresh(CONFIGS["llama"], EXITS, seed=0), objective)
    module = SortedObjective(model, objective)
    module(batch, 0).total.backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained
    assert all(n.startswith("exit_heads.") for n in trained)
    assert {n.split(".")[1] for n in trained} == {"1", "2"}


def test_ours_trains_the_network_as_sft_does_and_every_other_exit_apart(batch: Batch) -> None:
    plain, sft = fresh(CONFIGS["llama"], EXITS, seed=0), objective_of("sft")
    SortedObjective(plain, sft)(batch, 0).total.backward()
    expected = gradients(plain)
    ours = objective_of("soft+")
    model = prepare(fresh(CONFIGS["llama"], EXITS, seed=0), ours)
    module = SortedObjective(model, ours)
    loss = module(batch, 0)
    loss.total.backward()
    found = gradients(model)
    own = {name for name in found if name.startswith("exit_heads.")}
    assert found.keys() - own == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    # Half cross-entropy, half KL from the deepest exit.
    keep = batch.labels != IGNORE
    hidden = model.exit_hidden(batch.ids)
    told = model.logits(hidden[4][keep]).softmax(-1)
    expected_loss = naive_cross_entropy(model, batch)
    total = expected_loss[4]
    for k in (1, 2):
        learnt = model.logits(hidden[k][keep], k).softmax(-1)
        total = total + 0.5 * expected_loss[k] + 0.5 * (told * (told / learnt).log()).sum()
    assert torch.allclose(loss.total, total, rtol=1e-4)
    assert {name.split(".")[1] for name in own} == {"1", "2"}
    parts = {frozenset(map(id, part)) for part in module.parts()}
    assert len(parts) == 3
    assert frozenset(id(p) for p in model.lm.parameters()) in parts


def test_ict_heads_begin_as_the_shared_one(ids: torch.Tensor, model: NestedModel) -> None:
    with torch.inference_mode():
        shared = {k: model.logits(h) for k, h in model.exit_hidden(ids).items()}
        own = prepare(model, objective_of("sft+ict")).eval()
        for k, hidden in own.exit_hidden(ids).items():
            assert torch.equal(own.logits(hidden, k), shared[k])


def test_extracted_is_the_network_cut(model: NestedModel) -> None:
    cut = prepare(model, objective_of("extracted"), cut_at=2)
    assert cut.exits == (2,)
    assert len(cut.lm.model.layers) == 2
    with pytest.raises(UserError, match="--cut-at"):
        prepare(model, objective_of("extracted"))


def test_draws_depend_on_the_step_alone(model: NestedModel) -> None:
    objective = objective_of("soft", sampled=1, layer_dropout=0.5)
    module = SortedObjective(model, objective, seed=3)
    again = SortedObjective(model, objective, seed=3)
    draws = [module.draw(step) for step in range(50)]
    assert draws == [again.draw(step) for step in range(50)]
    assert {tuple(weights) for weights, _ in draws} == {(1, 4), (2, 4)}
    assert all(abs(sum(weights.values()) - 1) < 1e-9 for weights, _ in draws)
    assert {layer for _, skipped in draws for layer in skipped} == {1, 2, 3}


@pytest.mark.parametrize("name", PRESETS)
def test_weights_sum_to_one(name: str) -> None:
    assert sum(objective_of(name).weight_of((3, 6, 9, 12)).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("deepest", {6: 1.0}), ("depth", {2: 1 / 6, 4: 1 / 3, 6: 1 / 2}), ("half", {2: 0.25, 4: 0.25, 6: 0.5})],
)
def test_weights_of_exits(kind: str, expected: dict[int, float]) -> None:
    assert objective_of("soft", weights=kind).weight_of((2, 4, 6)) == pytest.approx(expected)
    assert objective_of("soft", weights=kind).weight_of((6,)) == {6: 1.0}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="there are sft, soft"):
        objective_of("softer")
    for change in ({"weights": "best"}, {"distill": 1.5}, {"layer_dropout": 1.0}, {"sampled": 0}):
        with pytest.raises(UserError):
            objective_of("soft", **change)
    with pytest.raises(UserError, match="each exit apart"):
        objective_of("soft+", sampled=1)

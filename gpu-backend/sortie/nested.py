"""The nested model: a Hugging Face causal language model whose every exit is a usable network.

Exit k is the residual stream after layer k, read through the model's one final norm and head ("Sorted LLaMA",
Valipour et al. 2023). The layers are transformers' own; what is here runs them up to an exit, keeps what each exit
needs, and masks packed rows.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from .errors import UserError

# Decoder-only models built as `model.embed_tokens`, `model.layers`, `model.norm`, `lm_head` with rotary positions.
MODEL_TYPES = ("llama", "mistral", "qwen2")
EXITS_FIELD = "sorted_exits"
HEADS_FIELD = "sorted_exit_heads"
HEADS_FILE = "exit_heads.pt"
# Types that weights are written in, by the names of the command lines.
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class ExitHead(nn.Module):
    """What one exit reads its hidden state through when it does not share the model's norm and head.

    `linear`: a norm and head of its own (the paper's "SFT + ICT"). `balcony`: one decoder layer of its own before the
    shared norm and head (Balcony, Jamialahmadi et al. 2025).
    """

    def __init__(self, kind: str, lm: PreTrainedModel, exit_layer: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "linear":
            self.norm = copy.deepcopy(lm.model.norm)
            self.head = nn.Linear(lm.config.hidden_size, lm.config.vocab_size, bias=False)
            self.head.weight.data.copy_(lm.lm_head.weight)
        else:
            last = len(lm.model.layers) - 1
            self.layer = copy.deepcopy(lm.model.layers[min(exit_layer, last)])


class NestedModel(nn.Module):
    """A causal language model and the layers after which it may stop."""

    def __init__(self, lm: PreTrainedModel, exits: Sequence[int], head_kind: str = "shared") -> None:
        """exits: ascending, 1-based, the last one the model's depth. Raises UserError for anything else."""
        super().__init__()
        check_config(lm.config)
        self.lm = lm
        self.exits = check_exits(exits, lm.config.num_hidden_layers)
        self.head_kind = head_kind
        # The deepest exit always reads the model's own norm and head.
        own = () if head_kind == "shared" else self.exits[:-1]
        self.exit_heads = nn.ModuleDict({str(k): ExitHead(head_kind, lm, k) for k in own})
        self.windows = sliding_windows(lm.config)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return self.exits[-1]

    @property
    def vocabulary(self) -> int:
        """Rows of the head."""
        return self.lm.config.vocab_size

    def own_head(self, exit_layer: int | None) -> ExitHead | None:
        """What an exit has to itself; None where it shares the model's norm and head."""
        for name, head in self.exit_heads.items():
            if name == str(exit_layer):
                return head
        return None

    def exit_hidden(
        self,
        ids: Tensor,
        segments: Tensor | None = None,
        up_to: int | None = None,
        skipped: Iterable[int] = (),
        apart: bool = False,
    ) -> dict[int, Tensor]:
        """ids [B, T] → what each exit's norm reads, {k: [B, T, d]}.

        segments [B, T]: which packed row a token belongs to (attention stays inside it, positions restart); None for
        one row each, padded on the right at most. up_to: the deepest exit wanted; layers beyond it do not run.
        skipped: 1-based layers left out (layer dropout). apart: an exit's own layer passes no gradient to those before.
        """
        base = self.lm.model
        positions = positions_of(ids, segments)
        masks = {window: packed_mask(ids, segments, window) for window in set(self.windows)}
        x = base.embed_tokens(ids)
        rotary = base.rotary_emb(x, position_ids=positions)
        left_out = set(skipped)
        exits: dict[int, Tensor] = {}
        for number, layer in enumerate(base.layers[:up_to], 1):
            mask = masks[self.windows[number - 1]]
            if number not in left_out:
                x = layer(x, attention_mask=mask, position_ids=positions, position_embeddings=rotary)
            if number in self.exits:
                head = self.own_head(number)
                if head is not None and head.kind == "balcony":
                    exits[number] = head.layer(
                        x.detach() if apart else x,
                        attention_mask=mask,
                        position_ids=positions,
                        position_embeddings=rotary,
                    )
                else:
                    exits[number] = x
        return exits

    def logits(self, hidden: Tensor, exit_layer: int | None = None, apart: bool = False) -> Tensor:
        """Hidden states of an exit [..., d] → logits [..., V]; exit_layer matters only to exits with their own head.

        apart: the shared norm and head get no gradient.
        """
        head = self.own_head(exit_layer)
        if head is not None and head.kind == "linear":
            return head.head(head.norm(hidden))
        norm, lm_head = self.lm.model.norm, self.lm.lm_head
        if apart:
            return constant(lm_head, constant(norm, hidden))
        return lm_head(norm(hidden))


def constant(module: nn.Module, values: Tensor) -> Tensor:
    """What a module makes of values, its parameters taken as constants."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, (values,))


def check_config(config: PreTrainedConfig) -> None:
    """Raises UserError for a model whose layers this package does not know how to nest."""
    if config.model_type not in MODEL_TYPES:
        raise UserError(f"config.json: model_type is {config.model_type!r}; supported: {', '.join(MODEL_TYPES)}")


def check_exits(exits: Sequence[int], depth: int) -> tuple[int, ...]:
    """The exits as a tuple. Raises UserError unless they ascend from at least 1 to exactly `depth`."""
    chosen = tuple(exits)
    if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] != depth:
        raise UserError(f"exits {list(chosen)} must ascend and end at the model's {depth} layers")
    return chosen


def sliding_windows(config: PreTrainedConfig) -> list[int | None]:
    """Tokens each layer looks back at; None for all of them."""
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if types is None:
        return [window if config.model_type == "mistral" else None] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in types]


def positions_of(ids: Tensor, segments: Tensor | None) -> Tensor:
    """Position of every token in its own row, [B, T] (or [1, T] without packing)."""
    places = torch.arange(ids.shape[1], device=ids.device)[None]
    if segments is None:
        return places
    starts = torch.ones_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return places - torch.where(starts, places, 0).cummax(1).values


def packed_mask(ids: Tensor, segments: Tensor | None, window: int | None) -> Tensor | None:
    """Which tokens each token may look at, [B or 1, 1, T, T]; None where plain causal attention says the same."""
    length = ids.shape[1]
    short = window is None or length <= window
    if segments is None and short:
        return None
    places = torch.arange(length, device=ids.device)
    back = places[:, None] - places[None, :]
    allowed = (back >= 0) if short else (back >= 0) & (back < window)
    if segments is None:
        return allowed[None, None]
    return (allowed & (segments[:, :, None] == segments[:, None, :]))[:, None]


def open_checkpoint(
    folder: Path,
    exits: Sequence[int] | None = None,
    head_kind: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> NestedModel:
    """A checkpoint folder as a nested model.

    exits: default, the config's `sorted_exits`, else the last layer alone. head_kind: default, what was saved.
    Raises UserError for a folder without a checkpoint, or a model that cannot be nested.
    """
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} has no config.json: give the folder of a Hugging Face checkpoint")
    config = AutoConfig.from_pretrained(folder)
    check_config(config)
    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    chosen = exits or getattr(config, EXITS_FIELD, None) or (config.num_hidden_layers,)
    saved_kind = getattr(config, HEADS_FIELD, "shared")
    model = NestedModel(lm, chosen, head_kind or saved_kind)
    if model.head_kind == saved_kind != "shared":
        model.exit_heads.load_state_dict(torch.load(folder / HEADS_FILE, weights_only=True))
    return model


def fresh(config: PreTrainedConfig, exits: Sequence[int], seed: int) -> NestedModel:
    """A nested model of random weights, a function of (config, seed); the model has a configuration of its own."""
    check_config(config)
    config = copy.deepcopy(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NestedModel(AutoModelForCausalLM.from_config(config, dtype=torch.float32), exits)


def save_checkpoint(
    model: NestedModel, folder: Path, dtype: torch.dtype = torch.float32, state: dict[str, Tensor] | None = None
) -> None:
    """Writes config.json, generation_config.json and safetensors that stock transformers reads.

    state: the model's whole state where its own parameters are sharded over processes.
    """
    whole = model.state_dict() if state is None else state
    own = {name.removeprefix("lm."): t.detach().to(dtype) for name, t in whole.items() if name.startswith("lm.")}
    config = model.lm.config
    setattr(config, EXITS_FIELD, list(model.exits))
    setattr(config, HEADS_FIELD, model.head_kind)
    if config.tie_word_embeddings:
        own.pop("lm_head.weight", None)
    model.lm.save_pretrained(folder, state_dict=own)
    # transformers writes the type of the model in memory, not that of the weights it was given.
    file = folder / "config.json"
    written = json.loads(file.read_text()) | {"dtype": str(dtype).removeprefix("torch.")}
    file.write_text(json.dumps(written, indent=2) + "\n")
    if model.exit_heads:
        heads = {n.removeprefix("exit_heads."): t.detach() for n, t in whole.items() if n.startswith("exit_heads.")}
        torch.save(heads, folder / HEADS_FILE)


def truncate(model: NestedModel, exit_layer: int) -> NestedModel:
    """One exit as an ordinary model, weights shared with the original: its layers, its norm and its head.

    Raises UserError for a layer that is no exit.
    """
    if exit_layer not in model.exits:
        raise UserError(f"layer {exit_layer} is no exit; exits are {', '.join(map(str, model.exits))}")
    source = model.lm.model
    layers, norm, head = list(source.layers[:exit_layer]), source.norm, model.lm.lm_head
    config = copy.deepcopy(model.lm.config)
    own = model.own_head(exit_layer)
    if own is not None and own.kind == "linear":
        norm, head = own.norm, own.head
        config.tie_word_embeddings = False
    elif own is not None:
        layers.append(own.layer)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: len(layers)]
    with torch.device("meta"):
        lm = type(model.lm)(config)
    lm.model.embed_tokens, lm.model.norm, lm.model.rotary_emb = source.embed_tokens, norm, source.rotary_emb
    lm.model.layers = nn.ModuleList(layers)
    lm.lm_head = head
    lm.generation_config = copy.deepcopy(model.lm.generation_config)
    return NestedModel(lm, [len(layers)])

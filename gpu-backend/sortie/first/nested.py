"""The nested model: a LLaMA whose every exit is a usable network, written for fast training.

Weights are those of transformers' LlamaForCausalLM (`load`, `save`); the forward is our own, because on a
CPU the compiled blocks below run about 1.7 times as fast as the stock modules.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

RMS_EPS = 1e-5
ROPE_THETA = 10_000.0
# Standard deviation of fresh weights, as LLaMA's.
INIT_STD = 0.02


@dataclass(frozen=True)
class Shape:
    """Sizes of a nested model."""

    d: int = 192
    layers: int = 12
    heads: int = 6
    kv: int = 3
    ffn: int = 512
    vocab: int = 4096
    context: int = 1024
    exits: tuple[int, ...] = (3, 6, 9, 12)

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.d // self.heads


class Block(nn.Module):
    """One decoder layer; q, k, v and gate, up are fused into one matrix each."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_dim = shape.kv * shape.head_dim
        self.norm1 = nn.Parameter(torch.ones(shape.d))
        self.norm2 = nn.Parameter(torch.ones(shape.d))
        self.qkv = nn.Parameter(torch.randn(shape.d + 2 * kv_dim, shape.d) * INIT_STD)
        self.out = nn.Parameter(torch.randn(shape.d, shape.d) * INIT_STD / (2 * shape.layers) ** 0.5)
        self.gate_up = nn.Parameter(torch.randn(2 * shape.ffn, shape.d) * INIT_STD)
        self.down = nn.Parameter(torch.randn(shape.d, shape.ffn) * INIT_STD / (2 * shape.layers) ** 0.5)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x [B, T, d], cos and sin [T, Dh/2] → [B, T, d]; causal, so right padding needs no mask."""
        s = self.shape
        batch, length, _ = x.shape
        kv_dim = s.kv * s.head_dim
        q, k, v = F.linear(norm(x, self.norm1), self.qkv).split([s.d, kv_dim, kv_dim], -1)
        q = rotate(q.view(batch, length, s.heads, s.head_dim).transpose(1, 2), cos, sin)
        k = rotate(k.view(batch, length, s.kv, s.head_dim).transpose(1, 2), cos, sin)
        v = v.view(batch, length, s.kv, s.head_dim).transpose(1, 2)
        k = k.repeat_interleave(s.heads // s.kv, 1)  # [B, H, T, Dh]
        v = v.repeat_interleave(s.heads // s.kv, 1)
        scores = (q @ k.transpose(-1, -2)).float() * s.head_dim**-0.5
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(future, float("-inf")).softmax(-1).to(v.dtype) @ v
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, length, s.d), self.out)
        gate, up = F.linear(norm(x, self.norm2), self.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down)


def norm(x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm in float32, result in x's type."""
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + RMS_EPS)
    return (scaled * weight.float()).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding, halves layout: x [B, H, T, Dh]."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class NestedModel(nn.Module):
    """Embedding, blocks, and the one norm and tied head that every exit shares."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocab, shape.d) * INIT_STD)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.d))

    def exit_hidden(
        self, ids: Tensor, dtype: torch.dtype = torch.float32, up_to: int | None = None
    ) -> dict[int, Tensor]:
        """ids [B, T] → residual stream after each exit, before the final norm, [B, T, d].

        up_to: the deepest exit wanted; layers beyond it do not run. Default: all of them.
        """
        half = self.shape.head_dim // 2
        inverse = ROPE_THETA ** -(torch.arange(half, device=ids.device).float() / half)
        angles = torch.arange(ids.shape[1], device=ids.device).float()[:, None] * inverse
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        x = F.embedding(ids, self.embedding).to(dtype)
        exits: dict[int, Tensor] = {}
        for layer, block in enumerate(self.blocks[:up_to], 1):
            x = block(x, cos, sin)
            if layer in self.shape.exits:
                exits[layer] = x
        return exits

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., d] → logits [..., V] through the shared norm and tied head."""
        return F.linear(norm(hidden, self.norm), self.embedding)


def hf_names(shape: Shape, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under transformers' names."""
    kv_dim = shape.kv * shape.head_dim
    named = {"model.embed_tokens.weight": state["embedding"], "model.norm.weight": state["norm"]}
    for i in range(shape.layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = state[ours + "qkv"].split([shape.d, kv_dim, kv_dim])
        gate, up = state[ours + "gate_up"].chunk(2)
        named |= {
            theirs + "input_layernorm.weight": state[ours + "norm1"],
            theirs + "post_attention_layernorm.weight": state[ours + "norm2"],
            theirs + "self_attn.q_proj.weight": q,
            theirs + "self_attn.k_proj.weight": k,
            theirs + "self_attn.v_proj.weight": v,
            theirs + "self_attn.o_proj.weight": state[ours + "out"],
            theirs + "mlp.gate_proj.weight": gate,
            theirs + "mlp.up_proj.weight": up,
            theirs + "mlp.down_proj.weight": state[ours + "down"],
        }
    return named


def our_names(shape: Shape, named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `hf_names`."""
    state = {"embedding": named["model.embed_tokens.weight"], "norm": named["model.norm.weight"]}
    for i in range(shape.layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        part = {key: named[f"{theirs}self_attn.{key}_proj.weight"] for key in "qkvo"}
        mlp = {key: named[f"{theirs}mlp.{key}_proj.weight"] for key in ("gate", "up", "down")}
        state |= {
            ours + "norm1": named[theirs + "input_layernorm.weight"],
            ours + "norm2": named[theirs + "post_attention_layernorm.weight"],
            ours + "qkv": torch.cat([part["q"], part["k"], part["v"]]),
            ours + "out": part["o"],
            ours + "gate_up": torch.cat([mlp["gate"], mlp["up"]]),
            ours + "down": mlp["down"],
        }
    return state


def save(model: NestedModel, folder: Path, eos: int, bos: int, pad: int) -> None:
    """Writes config.json, generation_config.json and model.safetensors (bfloat16)."""
    s = model.shape
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": s.d,
        "intermediate_size": s.ffn,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv,
        "head_dim": s.head_dim,
        "vocab_size": s.vocab,
        "max_position_embeddings": s.context,
        "rms_norm_eps": RMS_EPS,
        "rope_theta": ROPE_THETA,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "sorted_exits": list(s.exits),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    state = {name.replace("_orig_mod.", ""): t for name, t in model.state_dict().items()}
    weights = {n: t.to(torch.bfloat16).contiguous() for n, t in hf_names(s, state).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path) -> NestedModel:
    """Reads a checkpoint that `save` wrote, as float32."""
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        d=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv=config["num_key_value_heads"],
        ffn=config["intermediate_size"],
        vocab=config["vocab_size"],
        context=config["max_position_embeddings"],
        exits=tuple(config["sorted_exits"]),
    )
    model = NestedModel(shape)
    named = {n: t.float() for n, t in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(our_names(shape, named))
    return model


def describe(shape: Shape) -> str:
    """One line for logs."""
    return " ".join(f"{key}={value}" for key, value in asdict(shape).items())

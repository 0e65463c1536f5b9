"""Small random checkpoints of every LLaMA shape that is to load, each with transformers' own logits beside it."""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
VARIANTS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "no-groups": {"num_key_value_heads": 4},
    "one-group": {"num_key_value_heads": 1},
    "wide-heads": {"head_dim": 16},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "epsilon": {"rms_norm_eps": 0.1},
    "theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    "dynamic": {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}},
    "llama3": {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64, "rope_theta": 1000.0}},
    "yarn": {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "rope_theta": 1000.0,
        }
    },
    "mistral": {"mistral": True, "sliding_window": None},
    "sharded": {"shard": "20KB"},
    "half": {"dtype": torch.float16},
    "bfloat": {"dtype": torch.bfloat16},
}
# Several blocks of 32, so that past keys and values are read.
TOKENS = 80
# Larger than at training's start: a wrong rotation or norm must show.
WEIGHT_STD = 0.25


def main() -> None:
    """Writes one folder a variant below the folder given."""
    out = Path(sys.argv[1])
    for seed, (name, changes) in enumerate(VARIANTS.items()):
        torch.manual_seed(seed)
        options = dict(changes)
        shard, dtype = options.pop("shard", "5GB"), options.pop("dtype", torch.float32)
        config_class, model_class = (
            (MistralConfig, MistralForCausalLM)
            if options.pop("mistral", False)
            else (LlamaConfig, LlamaForCausalLM)
        )
        model = model_class(config_class(**SHAPE | options)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, WEIGHT_STD)
            model.to(dtype).save_pretrained(out / name, max_shard_size=shard)
            ids = torch.randint(0, SHAPE["vocab_size"], (1, TOKENS))
            # Read back: `to(dtype)` has rounded the rotary frequencies too, which no checkpoint holds.
            stored = model_class.from_pretrained(out / name, dtype=torch.float32).eval()
            logits = stored(ids, use_cache=False).logits[0, -1]
        reference = {"ids": ids[0].tolist(), "logits": logits.tolist()}
        (out / name / "reference.json").write_text(json.dumps(reference))


main()

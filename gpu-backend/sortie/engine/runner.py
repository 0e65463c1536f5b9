"""The network as the engine runs it: embed, a segment of layers, norm and head, over a batch of ragged sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..nested import NestedModel
from .graphs import SegmentGraphs
from .pages import CacheShape, PagePool
from .ragged import RAGGED, RaggedBatch


class Runner:
    """Owns the model and the page pool."""

    def __init__(self, model: NestedModel, rows: int, budget_bytes: int) -> None:
        """rows: requests that may run at once. Raises UserError for a model or a budget that cannot be served."""
        if model.head_kind != "shared":
            raise UserError(
                f"exits with heads of their own ({model.head_kind}) are not served; sortie-view cuts them out"
            )
        self.model = model.eval()
        self.config = model.lm.config
        self.device = model.lm.device
        self.dtype = model.lm.dtype
        self.context_length: int = self.config.max_position_embeddings
        head_dim = getattr(self.config, "head_dim", None) or (
            self.config.hidden_size // self.config.num_attention_heads
        )
        self.kv_width: int = self.config.num_key_value_heads * head_dim
        shape = CacheShape(model.depth, self.kv_width, self.context_length, rows, self.dtype, self.device)
        try:
            self.pool = PagePool(shape, budget_bytes)
        except ValueError as error:
            raise UserError(f"the kvCache's budget is too small: {error}") from error
        self.config._attn_implementation = RAGGED
        if self.device.type == "cpu" and self.dtype == torch.float32:
            lay_by_input(model.lm.model.layers)
        # Layers lower..upper-1 of every segment, from 0.
        self.bounds = list(zip((0, *model.exits[:-1]), model.exits, strict=True))
        self._graphs = SegmentGraphs(self.pool, self._run_layers) if self.device.type == "cuda" else None

    def embed(self, ids: list[int]) -> Tensor:
        """ids [N] → [N, d]."""
        return self.model.lm.model.embed_tokens(torch.tensor(ids, device=self.device))

    def run_segment(self, segment: int, hidden: Tensor, batch: RaggedBatch) -> Tensor:
        """hidden [N, d] before a segment (from 0), in the batch's order → [N, d] after it; keys and values are kept."""
        if self._graphs is not None and batch.single:
            return self._graphs.run(segment, hidden, batch)
        return self._run_layers(segment, hidden, batch)

    def _run_layers(self, segment: int, hidden: Tensor, batch: RaggedBatch) -> Tensor:
        base = self.model.lm.model
        x = hidden[None]
        rotary = base.rotary_emb(x, position_ids=batch.positions[None])
        lower, upper = self.bounds[segment]
        for number in range(lower, upper):
            x = base.layers[number](x, position_embeddings=rotary, ragged=batch, window=self.model.windows[number])
        return x[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states after any exit [N, d] → [N, V], float32."""
        return self.model.logits(hidden).float()


def lay_by_input(layers: nn.Module) -> None:
    """Weights [out, in] keep their shape but lie as [in, out]: on a CPU a few rows are multiplied by them sooner.

    What was mapped from a file is memory of the process then; float32 weights of a bfloat16 file are that anyway.
    """
    for module in layers.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = module.weight.data.t().contiguous().t()

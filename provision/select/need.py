"""What serving a model takes: weights, KV cache, and what the engine computes with. All figures in bytes."""

from __future__ import annotations

from provision.domain.frozen import frozen
from provision.domain.model import AttentionGroup, Model
from provision.knowledge.sizing import EngineMemory, Sizing
from provision.select.budget import CPU, Budget

KV_ELEMENT_BYTES = 2
FEWEST_BITS = 4.0  # of a weight, where nothing tells how it is packed


@frozen
class Cache:
    """How an engine lays out its cache: ``sequences`` of it, rounded up to ``step`` tokens.

    A sliding-window layer keeps ``margin`` tokens beyond its window. ``workers`` divide the heads among them; each
    keeps one at least, so that some are kept more than once where there are too few.
    """

    sequences: int = 1
    margin: int = 0
    step: int = 1
    element_bytes: float = KV_ELEMENT_BYTES
    workers: int = 1

    def layer_bytes(self, group: AttentionGroup, tokens: int) -> int:
        """Return what one layer of ``group`` keeps for ``tokens`` tokens of every sequence."""
        cells = self._rounded(tokens)
        if group.window is not None:
            cells = min(cells, self._rounded(group.window + self.margin))
        heads = -(-group.heads_kv // self.workers) * self.workers
        elements = heads * (group.key_length + group.value_length)
        return int(elements * cells * self.sequences * self.element_bytes)

    def _rounded(self, tokens: int) -> int:
        return -(-tokens // self.step) * self.step


@frozen
class Need:
    """``largest_cache`` is the largest part of ``cache`` that a single layer has."""

    weights: int
    cache: int
    compute: int
    largest_cache: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.compute


def kv_cache_bytes(model: Model, tokens: int, cache: Cache | None = None) -> int:
    """Return the size of the cache for ``tokens`` tokens of every sequence, with the state of recurrent layers."""
    cache = cache or Cache()
    attention = sum(group.layers * cache.layer_bytes(group, tokens) for group in model.shape.groups)
    return attention + model.shape.recurrent_bytes * cache.sequences


def need_of(
    model: Model,
    context: int,
    parallel: int,
    *,
    kind: str,
    rule: EngineMemory,
    sizing: Sizing,
    weights: int | None = None,
    workers: int = 1,
) -> Need:
    """Return what ``parallel`` requests of ``context`` tokens take in memory of this ``kind``.

    ``weights`` stands in for the model's own, in bytes. ``workers`` is among how many GPUs each layer is divided: every
    one is a process that computes all at the same time, with working memory for its part of the weights. Where whole
    layers are spread, one process computes on one GPU after another, and working memory counts once: what the further
    ones need comes out of what the budget leaves free on each of them, and takes off for uneven layers.
    """
    weights = weights_of(model, rule, sizing) if weights is None else weights
    cache = Cache(
        sequences=parallel if rule.every_slot else 1,
        margin=rule.window_margin_tokens,
        step=rule.cell_step_tokens,
        element_bytes=sizing.kv_element_bytes,
        workers=workers,
    )
    compute = workers * (rule.cpu if kind == CPU else rule.gpu).bytes_for(weights // workers)
    largest = max(cache.layer_bytes(group, context) for group in model.shape.groups)
    return Need(weights, kv_cache_bytes(model, context, cache), compute, largest)


def weights_of(model: Model, rule: EngineMemory, sizing: Sizing) -> int:
    """Return what the weights take in memory; the size of the file where its tensors were not counted.

    An engine that unpacks this format takes so many bits for every weight, however few the file has.
    """
    stored = model.size_bytes if model.weights_bytes is None else model.weights_bytes
    unpacked = rule.unpacked_bits.get(model.format)
    if unpacked is None:
        return stored
    if model.parameters:
        return int(model.parameters * unpacked / 8)
    packed = sizing.bits(model.format, model.quantization) or FEWEST_BITS
    return max(stored, int(stored * unpacked / packed))


def usable_bytes(budget: Budget, rule: EngineMemory) -> int | None:
    """Return what this engine may take of ``budget``; ``None`` where that is not known."""
    if budget.usable_bytes is None or rule.utilization is None or budget.kind == CPU or budget.total_bytes is None:
        return budget.usable_bytes
    return min(budget.usable_bytes, int(budget.total_bytes * rule.utilization))

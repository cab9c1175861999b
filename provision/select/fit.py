"""Whether a model fits into memory: weights, KV cache and compute against the budget, and what would fit if not.

Pure: the constants come in as a value, ``Sizing``. All figures in bytes.
"""

from __future__ import annotations

from dataclasses import replace

from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.selection import Fit
from provision.domain.units import GIB
from provision.knowledge.sizing import EngineMemory, Sizing
from provision.select.budget import CPU, DEDICATED, Budget
from provision.select.need import Need, need_of, usable_bytes, weights_of

DEFAULT_ENGINE = "llamacpp"


def fit(
    model: Model,
    context: int,
    parallel: int,
    budget: Budget,
    sizing: Sizing,
    *,
    engine: str = DEFAULT_ENGINE,
    partial: bool = False,
    host_budget: Budget | None = None,
) -> Fit:
    """Judge ``model`` with ``parallel`` requests of ``context`` tokens each.

    ``partial`` says that the engine's build can keep layers in main memory; ``host_budget`` is what it may take
    there. Layers are only divided between a GPU with memory of its own and main memory.
    """
    rule = sizing.engine(engine)
    need = need_of(model, context, parallel, kind=budget.kind, rule=rule, sizing=sizing, workers=budget.workers)
    usable = usable_bytes(budget, rule)
    verdict = _verdict(need.total, usable, sizing.comfortable_share)
    on_gpu = _layers_on_gpu(model, budget, verdict)
    if verdict == "no" and partial and budget.kind == DEDICATED:
        room = usable_bytes(host_budget, rule) if host_budget else None
        on_gpu = _split(model, need, rule, usable or 0, room or 0)
        verdict = "partial" if on_gpu else "no"
    judged = Fit(
        verdict=verdict,
        need_bytes=need.total,
        budget_bytes=usable,
        weights_bytes=need.weights,
        kv_cache_bytes=need.cache,
        context_length=context,
        compute_bytes=need.compute,
        layers=model.shape.layers,
        layers_on_gpu=on_gpu,
        budget_kind=budget.kind,
        total_bytes=budget.total_bytes,
        workers=budget.workers,
    )
    if verdict not in ("no", "partial"):
        return judged
    return _with_suggestion(judged, _Case(model, parallel, budget, rule, sizing))


def largest_context(
    model: Model, parallel: int, budget: Budget, sizing: Sizing, *, engine: str = DEFAULT_ENGINE
) -> int | None:
    """Return the longest context in tokens that fits wholly, in steps; ``None`` where none does, or nobody knows.

    The trained length counts where it is shorter than one step; it is never exceeded.
    """
    return _Case(model, parallel, budget, sizing.engine(engine), sizing).largest_context()


def _verdict(need: int, usable: int | None, comfortable_share: float) -> str:
    if usable is None:
        return "unknown"
    if need <= usable * comfortable_share:
        return "comfortable"
    return "fits" if need <= usable else "no"


def _layers_on_gpu(model: Model, budget: Budget, verdict: str) -> int | None:
    if budget.kind == CPU:
        return 0
    return {"comfortable": model.shape.layers, "fits": model.shape.layers, "no": 0}.get(verdict)


def _split(model: Model, need: Need, rule: EngineMemory, usable: int, room: int) -> int:
    """Return how many layers a GPU takes when main memory takes the rest; 0 where that does not work out.

    Every layer counts as the largest one, and one layer's cache more than the average is kept on either side:
    layers with a long cache and with a short one follow each other in a pattern that may be cut anywhere. What is
    in no layer (embeddings, output) stays in main memory.
    """
    layers = max(1, model.shape.layers)
    layer = model.layer_bytes or -(-need.weights // layers)
    other = model.other_bytes or 0
    left = usable - need.compute - need.largest_cache
    on_gpu = min(layers - 1, left * layers // (layer * layers + need.cache)) if left > 0 else 0
    on_host = layers - on_gpu
    weights = min(need.weights, other + on_host * layer)
    cache = min(need.cache, -(-need.cache * on_host // layers) + need.largest_cache)
    return on_gpu if weights + cache + rule.cpu.bytes_for(need.weights) <= room else 0


@frozen
class _Case:
    """One model on one budget, with the context and the weights still open."""

    model: Model
    parallel: int
    budget: Budget
    rule: EngineMemory
    sizing: Sizing

    def fits(self, context: int, weights: int) -> bool:
        usable = usable_bytes(self.budget, self.rule)
        need = need_of(
            self.model,
            context,
            self.parallel,
            kind=self.budget.kind,
            rule=self.rule,
            sizing=self.sizing,
            weights=weights,
            workers=self.budget.workers,
        )
        return usable is not None and need.total <= usable

    def largest_context(self) -> int | None:
        trained = self.model.shape.context_length
        step = min(self.sizing.context_step_tokens, trained)
        weights = weights_of(self.model, self.rule, self.sizing)
        if step < 1 or not self.fits(step, weights):
            return None
        fits, beyond = 1, trained // step + 1  # of steps: the first that fits, the first that is not asked for
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if self.fits(middle * step, weights):
                fits = middle
            else:
                beyond = middle
        return fits * step

    def smaller_quantization(self, context: int) -> tuple[str, int] | None:
        """Return the largest offered one that fits, with the size of its weights.

        A model whose quantization is not on the ladder was not made from larger weights that others quantize.
        """
        ladder = self.sizing.quantizations.get(self.model.format, ())
        bits = self.sizing.bits(self.model.format, self.model.quantization)
        if bits is None or self.model.format in self.rule.unpacked_bits:  # unpacked, all take the same
            return None
        for smaller in ladder:
            weights = int(weights_of(self.model, self.rule, self.sizing) * smaller.bits / bits)
            if smaller.offered and smaller.bits < bits and self.fits(context, weights):
                return smaller.name, weights
        return None


def _with_suggestion(judged: Fit, case: _Case) -> Fit:
    context = case.largest_context()
    smaller = case.smaller_quantization(judged.context_length)
    told = [f"a context of {context} tokens would fit"] if context else []
    if smaller:
        quantization = f"{smaller[0]}, about {smaller[1] / GIB:.1f} GiB"
        told.append(f"so would {quantization}" if told else f"{quantization}, would fit")
    return replace(
        judged,
        suggestion="; ".join(told) or None,
        suggested_context=context,
        suggested_quantization=smaller[0] if smaller else None,
    )

"""Which model one candidate can serve on this machine, and how it fits. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.selection import Fit
from provision.domain.spec import AUTO, Spec
from provision.domain.units import GB, GIB
from provision.errors import UsageError
from provision.knowledge.models import CatalogModel
from provision.select.candidates import Candidate
from provision.select.devices import device_names
from provision.select.fit import fit
from provision.select.knowledge import Knowledge
from provision.select.requirements import unmet_by_quantization
from provision.select.room import Room, reached, room_of
from provision.select.sources import Tried

SLACK_BYTES = GIB // 2  # of disk, for the engine and everything else
SERVED = ("comfortable", "fits", "unknown")

Wanted = Model | CatalogModel | None


@frozen
class Offer:
    """A model and how it fits, or the ``reason`` why there is none. ``hint`` is what would help.

    ``devices`` are the keys of the GPUs, or of the one instance, that it would use.
    """

    model: Model | None = None
    fit: Fit | None = None
    reason: str = ""
    hint: str | None = None
    devices: tuple[str, ...] = ()


def offer_model(
    candidate: Candidate, spec: Spec, facts: Facts, wanted: Wanted, known: Knowledge, *, tried: Tried
) -> Offer:
    """Offer what was asked for, or the largest model of the catalogue that fits wholly.

    ``tried`` are references that could not be fetched, with the reason: other files of the same model stand in, and
    without a wish smaller models do. Raises ``UsageError`` for a context that the model was not trained for.
    """
    room = room_of(candidate, facts, known)
    if wanted is not None:
        named = _named(candidate, wanted, tried)
        return _first_of([_offer_named(candidate, spec, room, each, known) for each in named])
    if candidate.devices and room.most.usable_bytes is None and not _asked_for(candidate, spec):
        return Offer(reason=f"how much memory {device_names(candidate.devices)[0]} has is not known")
    last = Offer(reason=f"the catalogue has no model for {candidate.engine} that suits this memory")
    cramped = None
    for model in _tiers(candidate, room, known, tried):
        if spec.context is not None and spec.context > model.shape.context_length:
            last = _too_long(model)
            continue
        last = _offer(candidate, spec, room, model, known)
        if last.fit is not None and last.fit.verdict in SERVED:
            if _has_room_on_disk(model, facts):
                return last
            cramped = last
    if cramped is not None:  # the smallest: whoever installs it knows to the byte what it takes
        return cramped
    return last if last.reason else Offer(reason=_too_large(last, spec))


def _too_long(model: Model) -> Offer:
    trained = model.shape.context_length
    return Offer(
        reason=f"{model.name} was trained for {trained} tokens of context",
        hint=f"Use --context {trained} or less, or name a --model that was trained for more.",
    )


def _first_of(offers: Sequence[Offer]) -> Offer:
    return next((each for each in offers if not each.reason), offers[0])


def _named(candidate: Candidate, wanted: Model | CatalogModel, tried: Tried) -> list[Model | str]:
    """Return the files that stand for what was asked for, or the reason why there are none."""
    if isinstance(wanted, Model):
        return [wanted]
    own = wanted.model(candidate.engine)
    if own is None:
        return [f"the catalogue has no {wanted.name} for {candidate.engine}"]
    found = [model for model in (own, *wanted.stand_ins(candidate.engine)) if not _untried(model, tried)]
    return [*found] or [_untried(own, tried)]


def _untried(model: Model, tried: Tried) -> str:
    """Return why the files of a model cannot be fetched, as far as that was tried; empty where nothing is known."""
    return tried.get(model.reference) or tried.get(model.place) or ""


def _has_room_on_disk(model: Model, facts: Facts) -> bool:
    """Tell whether the disk takes the model and some more; also where that is not known."""
    free = facts.disk.free_bytes
    return model.path is not None or free is None or free >= model.size_bytes + SLACK_BYTES


def _tiers(candidate: Candidate, room: Room, knowledge: Knowledge, tried: Tried) -> Iterator[Model]:
    """Yield the models that this engine loads, can be fetched, and whose tier this memory reaches, largest first."""
    rows = sorted(knowledge.catalog.models, key=lambda row: -row.tier_gb)
    most = candidate.profile.max_active_parameters
    memory, kept = reached(candidate, room), 1 - knowledge.catalog.tier_tolerance
    for row in rows:
        model = _fetchable(row, candidate, tried)
        active = row.active_parameters or row.parameters
        if model is None or (most is not None and active > most):
            continue
        if memory is not None and row.tier_gb * GB * kept <= memory:
            yield model
    smallest = min((row for row in rows if candidate.engine in row.engines), key=lambda row: row.tier_gb, default=None)
    if memory is None and smallest is not None and (model := _fetchable(smallest, candidate, tried)):
        yield model


def _fetchable(row: CatalogModel, candidate: Candidate, tried: Tried) -> Model | None:
    formats = candidate.build.formats if candidate.build else ()
    models = [row.model(candidate.engine), *(row.stand_ins(candidate.engine) if tried else ())]
    loadable = (model for model in models if model is not None and model.format in formats)
    return next((model for model in loadable if not _untried(model, tried)), None)


def _offer_named(candidate: Candidate, spec: Spec, room: Room, model: Model | str, knowledge: Knowledge) -> Offer:
    if isinstance(model, str):
        return Offer(reason=model)
    offered = _offer(candidate, spec, room, model, knowledge)
    if offered.reason or offered.fit is None:
        return offered
    if offered.fit.verdict == "no" or (offered.fit.verdict == "partial" and not _splits(candidate)):
        return Offer(reason=_too_large(offered, spec), hint=_smaller(offered.fit))
    return offered


def _offer(candidate: Candidate, spec: Spec, room: Room, model: Model, knowledge: Knowledge) -> Offer:
    build = candidate.build
    if build is None or model.format not in build.formats:
        loads = " and ".join(build.formats) if build else "nothing"
        return Offer(reason=f"{candidate.engine} loads {loads}, and {model.name} is {model.format}")
    if model.is_split and knowledge.engines[candidate.engine].whole_file:
        return Offer(reason=f"{candidate.engine} loads a model from one file, and {model.name} is split into several")
    if spec.kv_cache not in (AUTO, *knowledge.sizing.kv_types_of(candidate.engine)):
        return _without_kv_type(candidate, spec, knowledge)
    lacking = unmet_by_quantization(build, model.quantization, candidate.devices)
    if lacking:
        return Offer(reason=lacking)
    return _placed(candidate, spec, room, model, knowledge)


def _placed(candidate: Candidate, spec: Spec, room: Room, model: Model, knowledge: Knowledge) -> Offer:
    """Offer a model on as few devices as it fits on wholly, else on the most."""
    offered = Offer()
    for budget in room.budgets_for(model):
        judged = fit(
            model,
            context_for(spec, model, knowledge),
            spec.parallel,
            budget,
            knowledge.sizing.with_kv_cache(spec.kv_cache),
            engine=candidate.engine,
            partial=_splits(candidate),
            host_budget=room.host,
        )
        offered = Offer(model, judged, devices=budget.devices)
        if judged.verdict in SERVED:
            break
    return offered


def _without_kv_type(candidate: Candidate, spec: Spec, knowledge: Knowledge) -> Offer:
    reason = f"{candidate.engine} has no KV cache of type {spec.kv_cache}"
    hint = f"Use --kv-cache {' or '.join(knowledge.sizing.kv_types_of(candidate.engine))}, or leave it out."
    if spec.backend == candidate.engine:
        raise UsageError(f"{reason}.", hint)
    return Offer(reason=reason, hint=hint)


def _asked_for(candidate: Candidate, spec: Spec) -> bool:
    return spec.acceleration == candidate.acceleration or spec.profile == candidate.profile.name or spec.require_gpu


def _splits(candidate: Candidate) -> bool:
    return bool(candidate.devices) and candidate.build is not None and candidate.build.partial


def context_for(spec: Spec, model: Model, knowledge: Knowledge) -> int:
    """Return the tokens of context for one request. Raises ``UsageError`` for more than the model was trained for."""
    trained = model.shape.context_length
    if spec.context is None:
        return min(knowledge.serving.context, trained)
    if spec.context > trained:
        raise UsageError(
            f"{model.name} was trained for {trained} tokens of context, not {spec.context}.",
            f"Use --context {trained} or less.",
        )
    return spec.context


def _too_large(offer: Offer, spec: Spec) -> str:
    judged, model = offer.fit, offer.model
    if judged is None or model is None:
        return offer.reason or "no model fits"
    budget = "unknown" if judged.budget_bytes is None else f"{judged.budget_bytes / GIB:.2f} GiB"
    return (
        f"{model.name} needs {judged.need_bytes / GIB:.2f} GiB of memory with a context of {judged.context_length} "
        f"tokens for {_requests(spec)}, and {budget} can be used"
    )


def _requests(spec: Spec) -> str:
    return "one request" if spec.parallel == 1 else f"{spec.parallel} requests"


def _smaller(judged: Fit) -> str:
    general = "Use a smaller --context, fewer --parallel requests or a smaller --model."
    return f"{judged.suggestion[0].upper()}{judged.suggestion[1:]}. {general}" if judged.suggestion else general

"""The values of the HTTP API. Written by `python/generate.py` from the OpenAPI document."""

from typing import Any, Literal, NotRequired, TypedDict

EventLevel = Literal["info", "warning", "error"]
FineTuneLabels = Literal["given", "old_model"]
Head = Literal["transport", "source", "keep"]
Method = Literal["identity", "functional", "weight_matching", "gmt", "fgmt", "gradfix", "bico", "theseus", "oracle"]
Metric = Literal["accuracy", "agreement", "r2"]
Mode = Literal["propose", "publish", "promote"]
Network = Literal["graph", "by_names"]
On = Literal["new_version", "alias_moved", "manual"]
Optimizer = Literal["sgd", "adamw"]
Phase = Literal["fetching", "diagnosing", "aligning", "transferring", "evaluating", "fine_tuning", "publishing"]
Reason = Literal["new_version", "alias_moved", "by_hand"]
Recommendation = Literal["copy", "transfer", "transfer+fine_tune", "retrain", "keep_old", "collect"]
RetuneStatus = Literal["queued", "running", "paused", "succeeded", "partially_succeeded", "failed", "cancelled"]
Role = Literal["read", "submit", "admin"]
Schedule = Literal["uniform", "cosine"]
Status = Literal["queued", "running", "awaiting_evaluation", "cancelling", "succeeded", "failed", "cancelled"]
Step = Literal["best", "last"]
SuccessorPolicy = Literal["ignore", "propose", "follow"]
TrajectoryKind = Literal["linear", "stored"]
UpdateFormat = Literal["lora"]
Verdict = Literal["published", "rejected"]
VersionState = Literal["proposed", "published", "rejected"]


class Advice(TypedDict):
    """What the evidence says the owner should do."""

    action: "NotRequired[Recommendation | None]"
    reasons: "NotRequired[list[str]]"


class AlphaScore(TypedDict):
    """Validation figures of one α."""

    alpha: "NotRequired[float | None]"
    accuracy: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    samples: "NotRequired[int | None]"


class AlphasByGroup(TypedDict):
    """One α for each kind of layer in each third of the depth; in a network without attention for each layer."""

    alphas: "NotRequired[list[GroupAlpha]]"
    samples: "NotRequired[int]"
    rounds: "NotRequired[int]"
    loss_before: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    taken: "NotRequired[bool]"


class BaseAlias(TypedDict):
    """A name that moves from version to version."""

    base_model: "str"
    alias: "str"
    version: "str"
    uri: "str"
    digest: "str"
    moved_at: "str"


class BaseCosines(TypedDict):
    """Cosines of the two bases' tensors."""

    layers: "NotRequired[list[LayerCosine]]"
    all: "NotRequired[float | None]"
    matrices: "NotRequired[float | None]"


class BaseModel(TypedDict):
    """What models are tuned from."""

    name: "str"
    description: "NotRequired[str | None]"
    licence: "NotRequired[str | None]"
    metadata: "dict[str, str]"
    successors: "SuccessorPolicy"
    aliases: "dict[str, str]"
    versions: "int"
    created_at: "str"
    updated_at: "str"


class BaseVersion(TypedDict):
    """One model that a base model has been."""

    base_model: "str"
    version: "str"
    uri: "str"
    digest: "str"
    size: "int"
    parent: "NotRequired[str | None]"
    licence: "NotRequired[str | None]"
    retires_at: "NotRequired[str | None]"
    created_at: "str"
    retune: "NotRequired[str | None]"


class Baselines(TypedDict):
    """What stands or is reached without a transfer."""

    source_tuned: "NotRequired[Standing | None]"
    target_before: "NotRequired[Standing | None]"
    few_shot: "NotRequired[Trained | None]"
    fine_tune_only: "NotRequired[Trained | None]"
    without_pull: "NotRequired[Trained | None]"


class Callback(TypedDict):
    url: "str"


class Cost(TypedDict):
    """Work done, in samples and in floating-point operations."""

    sample_gradients: "NotRequired[int]"
    sample_forwards: "NotRequired[int]"
    flops: "NotRequired[float]"


class CostSummary(TypedDict):
    """What was spent, beside what one epoch of ordinary training would spend."""

    total: "NotRequired[Cost | None]"
    diagnosis: "NotRequired[Cost | None]"
    selection: "NotRequired[Cost | None]"
    transfer_sample_gradients: "NotRequired[int | None]"
    one_epoch_sample_gradients: "NotRequired[int | None]"
    transfer_over_one_epoch: "NotRequired[float | None]"


class Counts(TypedDict):
    """How many of a retune's transfers are of each status."""

    queued: "int"
    running: "int"
    awaiting_evaluation: "int"
    cancelling: "int"
    succeeded: "int"
    failed: "int"
    cancelled: "int"


class Data(TypedDict):
    """Safetensors or Parquet files with inputs and, except where the old tuned model's own predictions are to"""

    train: "NotRequired[str | None]"
    validation: "NotRequired[str | None]"
    test: "NotRequired[str | None]"
    preprocess: "NotRequired[Preprocess | None]"


class Decision(TypedDict):
    """What to do with the result, and why, without the field's terms."""

    action: "NotRequired[Recommendation | None]"
    sentence: "NotRequired[str]"
    accuracy_lost_per_100: "NotRequired[float | None]"
    confidence: "NotRequired[float]"
    checked_on: "NotRequired[str]"
    next_step: "NotRequired[str]"
    price: "NotRequired[str]"
    needed_disagreements: "NotRequired[int | None]"
    needed_samples: "NotRequired[int | None]"


class Diagnosis(TypedDict):
    """The relation of old and new base."""

    across_widths: "NotRequired[bool]"
    identical_bases: "NotRequired[bool]"
    relative_task_vector: "NotRequired[float | None]"
    base_cosines: "NotRequired[BaseCosines]"
    relation: "NotRequired[Relation | None]"


class Energy(TypedDict):
    """An estimate."""

    joules: "NotRequired[float]"
    assumption: "NotRequired[str]"


class Environment(TypedDict):
    """Where the transfer ran."""

    software: "NotRequired[Software]"
    device: "NotRequired[str]"
    threads: "NotRequired[int]"
    architecture: "NotRequired[str]"


class Estimate(TypedDict):
    """Time and memory on this machine. Phases, and everything without another word, are those of the most"""

    seconds: "float"
    seconds_least: "float"
    memory_bytes: "float"
    read_bytes: "int"
    written_bytes: "int"
    flops: "float"
    phases: "list[PhasePlan]"
    memory_by_stage: "list[StageMemory]"


class Evaluation(TypedDict):
    """The judgement of an external gate: it ends the wait of a transfer."""

    name: "str"
    passed: "bool"
    metrics: "NotRequired[dict[str, Any]]"
    url: "NotRequired[str | None]"


class EvaluationRecord(TypedDict):
    """How the wait for an external gate ended, as the transfer and its report have it."""

    answered: "bool"
    name: "str"
    passed: "bool"
    metrics: "NotRequired[dict[str, Any]]"
    url: "NotRequired[str | None]"


class Event(TypedDict):
    """Something that happened to a transfer."""

    seq: "int"
    id: "str"
    kind: "str"
    level: "EventLevel"
    message: "str"
    created_at: "str"
    data: "Any"


class ExternalGate(TypedDict):
    """A judgement by another program. The result waits for it in a staging place."""

    name: "str"
    deadline_hours: "NotRequired[float]"


class Fault(TypedDict):
    """One fault: where (RFC 6901 pointer) and what."""

    pointer: "str"
    detail: "str"


class FeedEvent(TypedDict):
    """Something that happened to whatever a tenant has."""

    place: "int"
    id: "str"
    subject: "str"
    kind: "str"
    level: "EventLevel"
    message: "str"
    created_at: "str"
    data: "Any"


class FineTune(TypedDict):
    """A tuning that is to be carried over to what comes next."""

    name: "str"
    base_model: "str"
    base_version: "str"
    trajectory: "str"
    data: "NotRequired[Data | None]"
    spec: "dict[str, Any]"
    policy: "Policy"
    aliases: "dict[str, int]"
    protected_aliases: "list[str]"
    created_at: "str"
    updated_at: "str"


class FineTuneAlias(TypedDict):
    """The version that an alias stands on."""

    fine_tune: "str"
    version: "int"
    state: "VersionState"
    parent: "NotRequired[int | None]"
    base_model: "str"
    base_version: "NotRequired[str | None]"
    transfer: "str"
    retune: "NotRequired[str | None]"
    source_base: "str"
    trajectory: "str"
    target_base: "str"
    method: "NotRequired[str | None]"
    uri: "str"
    manifest_sha256: "str"
    verdict: "Verdict"
    recommendation: "NotRequired[Recommendation | None]"
    metrics: "Any"
    created_at: "str"
    alias: "str"
    moved_at: "str"
    protected: "bool"


class FineTuneStage(TypedDict):
    """A bounded budget of training after the transfer."""

    epochs: "NotRequired[int]"
    optimizer: "NotRequired[Optimizer]"
    learning_rate: "NotRequired[LearningRate]"
    batch_size: "NotRequired[int]"
    stop_at: "NotRequired[float | None]"
    labels: "NotRequired[FineTuneLabels]"
    warmup: "NotRequired[float | None]"
    clip: "NotRequired[float | None]"
    pull: "NotRequired[float | None]"
    looks_per_epoch: "NotRequired[int | None]"
    patience: "NotRequired[int | None]"
    lora_rank: "NotRequired[int | None]"


class FineTuneVersion(TypedDict):
    """What came of carrying a fine-tune over, with where it came from."""

    fine_tune: "str"
    version: "int"
    state: "VersionState"
    parent: "NotRequired[int | None]"
    base_model: "str"
    base_version: "NotRequired[str | None]"
    transfer: "str"
    retune: "NotRequired[str | None]"
    source_base: "str"
    trajectory: "str"
    target_base: "str"
    method: "NotRequired[str | None]"
    uri: "str"
    manifest_sha256: "str"
    verdict: "Verdict"
    recommendation: "NotRequired[Recommendation | None]"
    metrics: "Any"
    created_at: "str"


class FineTuned(TypedDict):
    """The winner after its training."""

    chosen: "NotRequired[bool]"
    end: "NotRequired[str]"
    epochs: "NotRequired[list[ReportEpoch]]"
    validation: "NotRequired[Scores | None]"
    test: "NotRequired[Scores | None]"
    barrier: "NotRequired[LossBarrier | None]"
    sample_gradients: "NotRequired[int | None]"
    flops: "NotRequired[float | None]"
    touch_up: "NotRequired[TouchUp | None]"


class Fit(TypedDict):
    """How well two sets of tensors match, over all groups."""

    objective: "NotRequired[float | None]"
    objective_at_identity: "NotRequired[float | None]"
    bound: "NotRequired[float | None]"
    cosines_at_identity: "NotRequired[list[float | None]]"
    cosines: "NotRequired[list[float | None]]"


class FittedLayer(TypedDict):
    """One layer that was fitted."""

    layer: "NotRequired[str]"
    rows: "NotRequired[int]"
    ridge: "NotRequired[float | None]"
    left: "NotRequired[float | None]"


class FunctionalFits(TypedDict):
    """Of functional: the fit that was made, and what stood against it."""

    samples: "NotRequired[int]"
    chosen: "NotRequired[int]"
    trials: "NotRequired[list[FunctionalTrial]]"
    layers: "NotRequired[list[FittedLayer]]"


class FunctionalTrial(TypedDict):
    """A fit beside the old tuned model, on inputs that were held back from it."""

    start: "NotRequired[str]"
    layers: "NotRequired[str]"
    agreement: "NotRequired[float | None]"
    divergence: "NotRequired[float | None]"


class Gate(TypedDict):
    """The conditions under which the result may be published, judged on the test split. A result whose"""

    metric: "NotRequired[Metric]"
    min: "NotRequired[float | None]"
    max_drop_from_source: "NotRequired[float | None]"
    max_negative_flips: "NotRequired[float | None]"
    external: "NotRequired[ExternalGate | None]"


class GateCheck(TypedDict):
    """One condition of the gate."""

    condition: "NotRequired[str]"
    bound: "NotRequired[float]"
    value: "NotRequired[float]"
    passed: "NotRequired[bool]"


class GroupAlpha(TypedDict):
    """The α of one group."""

    group: "NotRequired[str]"
    alpha: "NotRequired[float | None]"


class GroupMatch(TypedDict):
    """How well one group's tensors match, over all pairs."""

    group: "NotRequired[str]"
    units: "NotRequired[int]"
    cosine_at_identity: "NotRequired[float | None]"
    cosine: "NotRequired[float | None]"
    certificate: "NotRequired[str | None]"
    fixed_points: "NotRequired[int]"


class HeadAdopted(TypedDict):
    """A head that only the tuned model has."""

    adopted: "NotRequired[list[str]]"
    left_out: "NotRequired[list[str]]"


class JobError(TypedDict):
    """Why a transfer failed."""

    code: "str"
    detail: "str"
    pointer: "NotRequired[str | None]"


class LadderStep(TypedDict):
    """One rung, taken or skipped."""

    method: "NotRequired[Method]"
    by_group: "NotRequired[bool]"
    taken: "NotRequired[bool]"
    reason: "NotRequired[str]"
    validation_accuracy: "NotRequired[float | None]"
    validation_agreement: "NotRequired[float | None]"
    validation_r2: "NotRequired[float | None]"
    sample_gradients: "NotRequired[int]"
    sample_forwards: "NotRequired[int]"


class LayerMaps(TypedDict):
    """Of bico and theseus: maps by layer."""

    samples: "NotRequired[int]"
    maps: "NotRequired[int]"
    completed: "NotRequired[int]"


class Limits(TypedDict):
    """How much of the workers a retune may take."""

    max_concurrent: "NotRequired[int | None]"
    max_compute_seconds: "NotRequired[int | None]"


class LossBarrier(TypedDict):
    """The loss on the segment between two models."""

    height: "NotRequired[float | None]"
    losses: "NotRequired[list[float | None]]"


class MatchedStep(TypedDict):
    """How well the tensors matched at one step."""

    objective: "NotRequired[float | None]"
    objective_at_identity: "NotRequired[float | None]"
    bound: "NotRequired[float | None]"
    cosines_at_identity: "NotRequired[list[float | None]]"
    cosines: "NotRequired[list[float | None]]"
    step: "NotRequired[int]"
    weight_anchor: "NotRequired[Fit | None]"
    sweeps: "NotRequired[int]"
    certified_groups: "NotRequired[int]"


class Me(TypedDict):
    """Who calls, as the caller sees it."""

    tenant: "str"
    tenant_name: "str"
    role: "Role"
    expires_at: "NotRequired[str | None]"
    key: "NotRequired[MyKey | None]"
    roots: "list[str]"


class Measured(TypedDict):
    """Shares of right answers in [0, 1], mean losses."""

    split: "str"
    accuracy: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    divergence: "NotRequired[float | None]"
    recovery: "NotRequired[float | None]"
    source_accuracy: "NotRequired[float | None]"
    source_r2: "NotRequired[float | None]"
    target_accuracy_before: "NotRequired[float | None]"
    target_r2_before: "NotRequired[float | None]"
    target_agreement_before: "NotRequired[float | None]"


class MethodPlan(TypedDict):
    """What one method's candidate takes."""

    method: "Method"
    sample_gradients: "int"
    sample_forwards: "int"
    flops: "float"
    memory_bytes: "float"


class Metrics(TypedDict):
    """The figures that stand for the result, on the split that judges."""

    split: "NotRequired[str]"
    accuracy: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    divergence: "NotRequired[float | None]"
    recovery: "NotRequired[float | None]"
    source_accuracy: "NotRequired[float | None]"
    source_r2: "NotRequired[float | None]"
    target_accuracy_before: "NotRequired[float | None]"
    target_r2_before: "NotRequired[float | None]"
    target_agreement_before: "NotRequired[float | None]"
    method: "NotRequired[Method]"
    step: "NotRequired[int]"
    alpha: "NotRequired[float]"


class MyKey(TypedDict):
    """The key that a request came with."""

    id: "str"
    name: "str"
    prefix: "str"


class NegativeFlips(TypedDict):
    """Test samples (or tokens to be predicted) that the old tuned model got right and the new one gets"""

    samples: "NotRequired[int]"
    share: "NotRequired[float]"


class NewBaseModel(TypedDict):
    """What its owner says of a base model; {} will do."""

    description: "NotRequired[str | None]"
    licence: "NotRequired[str | None]"
    metadata: "NotRequired[dict[str, str]]"
    successors: "NotRequired[SuccessorPolicy]"


class NewBaseVersion(TypedDict):
    """A version that has landed."""

    version: "str"
    uri: "str"
    parent: "NotRequired[str | None]"
    licence: "NotRequired[str | None]"
    retires_at: "NotRequired[str | None]"


class NewFineTune(TypedDict):
    """A fine-tune and what is to become of it."""

    base_model: "str"
    base_version: "str"
    trajectory: "str"
    data: "NotRequired[Data | None]"
    spec: "dict[str, Any]"
    policy: "Policy"


class NewRetune(TypedDict):
    """What is to be carried where: fine-tunes onto locations, or onto a registered version."""

    fine_tunes: "NotRequired[list[str] | None]"
    targets: "NotRequired[list[str] | None]"
    base_model: "NotRequired[str | None]"
    version: "NotRequired[str | None]"
    limits: "NotRequired[Limits]"


class Options(TypedDict):
    timesteps: "NotRequired[int]"
    batch_size: "NotRequired[int]"
    schedule: "NotRequired[Schedule]"
    trajectory: "NotRequired[TrajectoryKind]"
    step: "NotRequired[Step]"
    head: "NotRequired[Head]"
    alpha: "NotRequired[Alpha]"
    weight_anchor: "NotRequired[float]"
    gradfix_on: "NotRequired[Method]"
    orthogonal_shift: "NotRequired[bool]"
    seed: "NotRequired[int]"
    selection: "NotRequired[SelectionOptions]"
    barrier: "NotRequired[bool]"
    update: "NotRequired[Update | None]"


class PhasePlan(TypedDict):
    """What one phase takes."""

    phase: "str"
    seconds: "float"
    flops: "float"
    bytes: "float"


class PhaseTime(TypedDict):
    """Time and energy of one part of the work."""

    wall_seconds: "NotRequired[float]"
    cpu_seconds: "NotRequired[float]"
    joules: "NotRequired[float]"


class Plan(TypedDict):
    """A job by its headers."""

    parameters: "int"
    timesteps: "int"
    network: "NotRequired[Network]"
    device: "str"
    device_memory_bytes: "NotRequired[float | None]"
    groups: "int"
    largest_group: "int"
    samples: "SampleCounts"
    unlabelled: "NotRequired[list[str]]"
    methods: "list[MethodPlan]"
    estimate: "Estimate"
    speeds: "Speeds"
    assumptions: "str"


class Policy(TypedDict):
    """When a fine-tune is carried over, and how far the result goes."""

    on: "On"
    alias: "NotRequired[str | None]"
    mode: "Mode"


class Preprocess(TypedDict):
    """Per-channel normalisation (x − mean) / std, one value a channel (or one for all)."""

    mean: "list[float]"
    std: "list[float]"


class Problem(TypedDict):
    """An error as RFC 9457 writes it."""

    type: "str"
    title: "str"
    status: "int"
    code: "str"
    detail: "str"
    errors: "NotRequired[list[Fault]]"


class Progress(TypedDict):
    """How far the current phase is."""

    done: "int"
    total: "int"
    unit: "str"
    estimated_finish: "NotRequired[str | None]"


class QueuePosition(TypedDict):
    """What stands before a transfer in the queue."""

    status: "Status"
    ahead: "NotRequired[int | None]"
    held: "bool"
    not_before: "NotRequired[str | None]"
    at_work: "int"
    workers: "int"


class Relation(TypedDict):
    """What a matching of the two bases' weights adds, and what data add to that."""

    fixed_points: "NotRequired[float | None]"
    barrier: "NotRequired[LossBarrier | None]"
    gradient_cosine_at_identity: "NotRequired[float | None]"
    gradient_cosine: "NotRequired[float | None]"


class Report(TypedDict):
    """A transfer's report."""

    format: "NotRequired[str]"
    name: "NotRequired[str | None]"
    verdict: "NotRequired[Verdict | None]"
    recommendation: "NotRequired[Advice]"
    decision: "NotRequired[Decision]"
    network: "NotRequired[Network]"
    warnings: "NotRequired[list[str]]"
    winner: "NotRequired[Method]"
    published_model: "NotRequired[str]"
    metrics: "NotRequired[Metrics]"
    gate: "NotRequired[list[GateCheck]]"
    evaluation: "NotRequired[EvaluationRecord | None]"
    head: "NotRequired[HeadAdopted | None]"
    shared_rows: "NotRequired[list[RowsShared]]"
    left_out: "NotRequired[list[str]]"
    splits: "NotRequired[SplitSizes]"
    baselines: "NotRequired[Baselines]"
    candidates: "NotRequired[list[ReportCandidate]]"
    fine_tune: "NotRequired[FineTuned | None]"
    negative_flips: "NotRequired[NegativeFlips | None]"
    diagnosis: "NotRequired[Diagnosis]"
    ladder: "NotRequired[list[LadderStep] | None]"
    selection: "NotRequired[SelectionRule]"
    cost: "NotRequired[CostSummary]"
    timing: "NotRequired[Timing]"
    environment: "NotRequired[Environment]"
    update: "NotRequired[UpdateSummary | None]"


class ReportCandidate(TypedDict):
    """One method's best model, and how it was found."""

    method: "NotRequired[Method]"
    rank: "NotRequired[int | None]"
    step: "NotRequired[int | None]"
    alpha: "NotRequired[float | None]"
    orthogonal_shift: "NotRequired[bool]"
    validation: "NotRequired[Scores | None]"
    test: "NotRequired[Scores | None]"
    last_step: "NotRequired[StepScore | None]"
    steps: "NotRequired[list[StepScore]]"
    alphas: "NotRequired[list[AlphaScore]]"
    fixed_points: "NotRequired[float | None]"
    mask: "NotRequired[SignMask | None]"
    builds_on: "NotRequired[Method | None]"
    maps: "NotRequired[LayerMaps | None]"
    functional: "NotRequired[FunctionalFits | None]"
    by_group: "NotRequired[AlphasByGroup | None]"
    matching: "NotRequired[list[MatchedStep]]"
    groups: "NotRequired[list[GroupMatch]]"
    sample_gradients: "NotRequired[int | None]"
    sample_forwards: "NotRequired[int | None]"
    flops: "NotRequired[float | None]"


class ReportEpoch(TypedDict):
    """One epoch of training."""

    epoch: "NotRequired[int]"
    train_loss: "NotRequired[float | None]"
    validation_loss: "NotRequired[float | None]"
    validation_accuracy: "NotRequired[float | None]"
    validation_agreement: "NotRequired[float | None]"
    validation_r2: "NotRequired[float | None]"


class ReportLook(TypedDict):
    """One look at the validation data."""

    step: "NotRequired[int]"
    validation_loss: "NotRequired[float | None]"
    validation_accuracy: "NotRequired[float | None]"
    validation_agreement: "NotRequired[float | None]"
    validation_r2: "NotRequired[float | None]"


class ReportRateTrial(TypedDict):
    """One learning rate that was tried."""

    learning_rate: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"


class ResultLocation(TypedDict):
    """Where the result lies."""

    uri: "str"
    manifest_sha256: "str"


class Retune(TypedDict):
    """All transfers of one new base version, of an alias that moved, or of a wish."""

    id: "str"
    status: "RetuneStatus"
    reason: "Reason"
    base_model: "NotRequired[str | None]"
    base_version: "NotRequired[str | None]"
    counts: "Counts"
    limits: "Limits"
    compute_seconds: "float"
    created_at: "str"
    started_at: "NotRequired[str | None]"
    finished_at: "NotRequired[str | None]"


class RowsShared(TypedDict):
    """Classes or tokens that the models number differently."""

    axis: "NotRequired[str]"
    tensors: "NotRequired[list[str]]"
    source: "NotRequired[int]"
    target: "NotRequired[int]"
    shared: "NotRequired[int]"
    own: "NotRequired[dict[str, str | None]]"


class SampleCounts(TypedDict):
    """Samples of each split; 0 where there is none."""

    train: "int"
    validation: "int"
    test: "int"


class Scores(TypedDict):
    """Figures of one model on one split."""

    accuracy: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    samples: "NotRequired[int | None]"


class SelectionOptions(TypedDict):
    """How validation samples choose step, α and method: models race on growing blocks of them, and are compared"""

    samples: "NotRequired[int]"
    confidence: "NotRequired[float]"
    margin: "NotRequired[float]"


class SelectionRule(TypedDict):
    """How candidates were chosen."""

    alphas: "NotRequired[list[float]]"
    statistics_samples: "NotRequired[int]"
    race_statistics_samples: "NotRequired[int]"
    samples: "NotRequired[int | None]"
    confidence: "NotRequired[float]"
    margin: "NotRequired[float]"


class SignMask(TypedDict):
    """Of gradfix: the vote of single samples' gradients."""

    samples: "NotRequired[int]"
    kept: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    loss_of_guessing: "NotRequired[float | None]"


class Software(TypedDict):
    """A program and its version."""

    name: "NotRequired[str]"
    version: "NotRequired[str]"


class Source(TypedDict):
    """The old base and what it became."""

    base: "str"
    trajectory: "str"


class Spec(TypedDict):
    """One transfer: the learning trajectory source.base → source.trajectory, carried onto"""

    name: "NotRequired[str | None]"
    source: "Source"
    target: "Target"
    data: "NotRequired[Data | None]"
    methods: "NotRequired[Methods]"
    options: "NotRequired[Options]"
    fine_tune: "NotRequired[FineTuneStage | None]"
    gate: "NotRequired[Gate | None]"
    output: "str"
    callback: "NotRequired[Callback | None]"
    metadata: "NotRequired[dict[str, str]]"


class Speeds(TypedDict):
    """Seconds per unit of work on one machine."""

    version: "int"
    threads: "int"
    product: "float"
    similarity: "float"
    convolution: "float"
    light: "float"
    heavy: "float"
    node: "float"
    arithmetic: "float"
    assignment: "float"
    byte: "float"


class SplitSizes(TypedDict):
    """Samples in each split; null for a split that there is not."""

    train: "NotRequired[int | None]"
    validation: "NotRequired[int | None]"
    test: "NotRequired[int | None]"
    validation_held_out_of_train: "NotRequired[bool]"
    test_is_validation: "NotRequired[bool]"
    unlabelled: "NotRequired[list[str]]"


class StageMemory(TypedDict):
    """What one stage holds."""

    stage: "str"
    bytes: "float"


class Standing(TypedDict):
    """A model as it stands: the figures of the test split, with those of validation beside them."""

    accuracy: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    statistics: "NotRequired[str]"
    validation: "NotRequired[Scores | None]"


class StepScore(TypedDict):
    """Validation figures of one step."""

    step: "NotRequired[int | None]"
    accuracy: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    samples: "NotRequired[int | None]"


class Target(TypedDict):
    base: "str"


class Timing(TypedDict):
    """Seconds, memory and energy."""

    wall_seconds: "NotRequired[float | None]"
    cpu_seconds: "NotRequired[float | None]"
    gpu_seconds: "NotRequired[float | None]"
    gpu_assumption: "NotRequired[str | None]"
    by_phase: "NotRequired[dict[str, PhaseTime]]"
    phases: "NotRequired[dict[str, float]]"
    methods: "NotRequired[dict[str, float]]"
    methods_cpu_seconds: "NotRequired[dict[str, float]]"
    diagnosis_seconds: "NotRequired[float | None]"
    few_shot_seconds: "NotRequired[float | None]"
    fine_tune_only_seconds: "NotRequired[float | None]"
    fine_tune_seconds: "NotRequired[float | None]"
    winner_over_training: "NotRequired[float | None]"
    training: "NotRequired[TrainingTimes]"
    weight_matching: "NotRequired[WeightMatchingOrigin | None]"
    resumed_gradients: "NotRequired[int | None]"
    resumed_layers: "NotRequired[int | None]"
    peak_memory_bytes: "NotRequired[int | None]"
    peak_memory_of: "NotRequired[str]"
    energy: "NotRequired[Energy]"


class TouchUp(TypedDict):
    """What a training did beside plain steps."""

    labels: "NotRequired[str]"
    learning_rate: "NotRequired[float | None]"
    trials: "NotRequired[list[ReportRateTrial]]"
    warmup: "NotRequired[float | None]"
    clip: "NotRequired[float | None]"
    pull: "NotRequired[float | None]"
    lora_rank: "NotRequired[int | None]"
    looks: "NotRequired[list[ReportLook]]"
    best_step: "NotRequired[int | None]"


class Trained(TypedDict):
    """A model after training without a transfer."""

    accuracy: "NotRequired[float | None]"
    loss: "NotRequired[float | None]"
    agreement: "NotRequired[float | None]"
    r2: "NotRequired[float | None]"
    validation: "NotRequired[Scores | None]"
    epochs: "NotRequired[list[ReportEpoch]]"
    end: "NotRequired[str]"
    sample_gradients: "NotRequired[int]"
    flops: "NotRequired[float]"
    learning_rate: "NotRequired[float | None]"
    samples: "NotRequired[int | None]"
    by_old_model: "NotRequired[bool]"


class TrainingTimes(TypedDict):
    """Of each training; null where there was none."""

    fine_tune: "NotRequired[PhaseTime | None]"
    few_shot: "NotRequired[PhaseTime | None]"
    fine_tune_only: "NotRequired[PhaseTime | None]"


class Transfer(TypedDict):
    """A transfer as the API shows it."""

    id: "str"
    name: "NotRequired[str | None]"
    status: "Status"
    phase: "NotRequired[Phase | None]"
    progress: "NotRequired[Progress | None]"
    attempt: "int"
    created_at: "str"
    started_at: "NotRequired[str | None]"
    finished_at: "NotRequired[str | None]"
    spec: "Spec"
    result: "NotRequired[ResultLocation | None]"
    verdict: "NotRequired[Verdict | None]"
    recommendation: "NotRequired[Recommendation | None]"
    metrics: "NotRequired[Any]"
    error: "NotRequired[JobError | None]"
    metadata: "Any"
    evaluation: "NotRequired[TransferEvaluation | None]"
    retune: "NotRequired[str | None]"
    fine_tune: "NotRequired[str | None]"


class TransferEvaluation(TypedDict):
    """The wait for an external gate."""

    staged_uri: "NotRequired[str | None]"
    deadline: "str"
    answer: "NotRequired[EvaluationRecord | None]"
    evaluated_at: "NotRequired[str | None]"


class TruncatedTensor(TypedDict):
    """What a truncation loses."""

    tensor: "NotRequired[str]"
    relative_error: "NotRequired[float]"


class Update(TypedDict):
    """How the transferred update is written beside the model."""

    format: "UpdateFormat"
    rank: "int"


class UpdateSummary(TypedDict):
    """The adapter beside the model, and what it leaves out."""

    format: "NotRequired[str]"
    rank: "NotRequired[int]"
    parameters: "NotRequired[int]"
    tensors: "NotRequired[list[TruncatedTensor]]"
    whole: "NotRequired[list[str]]"
    left_out: "NotRequired[list[str]]"


class WeightMatchingOrigin(TypedDict):
    """Where the permutation of the bases' weights came from."""

    cached: "NotRequired[bool]"
    resumed: "NotRequired[bool]"


Alpha = Literal["search"] | Literal["by_group"] | float
LayerCosine = list[str | float | None]
LearningRate = Literal["auto"] | float
Methods = Literal["auto"] | list[Method]

//! Judges the winner on the test split, which has chosen nothing: gate, verdict, recommendation.

mod decision;
mod evidence;
mod gate;
mod recommendation;
mod warnings;

use super::{comparison::Comparison, context::Context, diagnose::Diagnosis};
use crate::{
    contract::{
        outcome::{Recommendation, Verdict},
        report::{Decision, GateCheck},
        spec::{Methods, Metric},
    },
    engine::tensors::HostTensor,
};
use gate::Measured;
use recommendation::{Facts, Untransferred};

pub use evidence::Evidence;

/// The end of the matter.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub verdict: Verdict,
    pub recommendation: Option<Recommendation>,
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    pub gate: Vec<GateCheck>,
    pub decision: Decision,
    pub evidence: Evidence,
}

/// Applies the gate and says what the evidence recommends.
pub fn judge(context: &Context, comparison: &Comparison, diagnosis: &Diagnosis) -> Judgement {
    let evidence = Evidence::of(context, comparison);
    let spec = context.job.spec;
    let gate = spec.gate.as_ref().map_or_else(Vec::new, |gate| {
        let (metric, source) = match gate.metric {
            Metric::Accuracy | Metric::R2 => (evidence.metric, evidence.source),
            // Of the old tuned model with itself it is 1.
            Metric::Agreement => (evidence.agreement, evidence.agreement.map(|_| 1.0)),
        };
        let negative_flips = evidence.negative_flips.map(|flips| flips.share);
        let changed = changed_by(context, comparison);
        gate::checks(
            gate,
            &Measured {
                metric,
                source,
                negative_flips,
                changed,
            },
        )
    });

    let facts = Facts {
        evidence,
        fine_tuned: comparison.is_fine_tuned(),
        identical_bases: diagnosis.identical_bases,
        strangers: are_strangers(context, diagnosis),
        untransferred: untransferred(context, comparison),
    };
    let advice = facts.recommend();
    let is_auto = spec.methods == Methods::Auto;

    let failed = if facts.strangers.is_some() {
        true
    } else if gate.is_empty() {
        is_auto && is_a_loss(&evidence, advice.action)
    } else {
        gate.iter().any(|check| !check.passed)
    };

    let verdict = if failed {
        Verdict::Rejected
    } else {
        Verdict::Published
    };

    let mut reasons = advice.reasons.clone();
    reasons.extend(gate.iter().filter(|check| !check.passed).map(gate::reason));

    Judgement {
        verdict,
        recommendation: advice.action,
        reasons,
        warnings: warnings::of(context, comparison, &gate),
        gate,
        decision: decision::of(context, comparison, &facts, advice.action, verdict),
        evidence,
    }
}

/// The cosine of bases that have nothing to do with each other, where nothing but names tells.
fn are_strangers(context: &Context, diagnosis: &Diagnosis) -> Option<f64> {
    let is_by_names = context.inputs.graph.by_names().is_some();
    (is_by_names && diagnosis.are_strangers()).then(|| diagnosis.cosine().unwrap_or(0.0))
}

/// What `auto` does not publish without a gate: a result that is less accurate than the old tuned model, or
/// without labels, where nobody knows, one that is not shown to be as good.
fn is_a_loss(evidence: &Evidence, action: Option<Recommendation>) -> bool {
    use Recommendation::{Copy, Transfer, TransferAndFineTune};
    match (evidence.metric, evidence.source) {
        (Some(metric), Some(source)) if evidence.has_labels => metric < source,
        (Some(_), Some(_)) => !matches!(action, Some(Copy | Transfer | TransferAndFineTune)),
        _ => false,
    }
}

/// The new base trained alone at the same cost beside the result. Agreement says nothing of a model that was
/// trained on labels.
fn untransferred(context: &Context, comparison: &Comparison) -> Option<Untransferred> {
    let unlabelled = context.inputs.splits.unlabelled;
    if unlabelled.validation && !unlabelled.train {
        return None;
    }

    let few_shot = comparison.few_shot.as_ref().map(|few| &few.tuned);
    let only = comparison
        .fine_tune_only
        .as_ref()
        .or(few_shot)?
        .validation
        .as_ref()?;

    Some(Untransferred {
        only: only.accuracy(),
        ours: comparison.validation()?.accuracy(),
        by_old_model: unlabelled.train,
    })
}

/// How many learned values of the result are not the new base's; a head that it lacked counts whole.
fn changed_by(context: &Context, comparison: &Comparison) -> usize {
    let (head, model) = (context.inputs.trajectory.head(), comparison.model());
    let names = context.inputs.graph.learned();
    let (new, own): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| head.contains(name));
    let added = new
        .iter()
        .filter_map(|name| model.get(name))
        .map(HostTensor::len);
    added.sum::<usize>() + gate::changed(&own, &context.inputs.target.checkpoint, model)
}

//! A candidate of each method, and the best of them.
//!
//! Named methods all run; `auto` climbs the ladder as long as the evidence asks for more. Validation
//! chooses; the test split is measured here and chooses nothing.

use super::{
    align::{Aligned, Alignments},
    comparison::{Baselines, Candidates, Choice, Scores},
    context::Context,
    diagnose::Diagnosed,
    failure::Failure,
    meter::Seconds,
};
use crate::{
    contract::{
        outcome::Phase,
        spec::{self, Methods},
    },
    engine::{
        training::Evaluation,
        transfer::{
            Candidate, Method, Problem,
            candidate::{self, Selection},
            ladder::{self, Known},
            methods,
        },
    },
};

/// One candidate per method. Progress counts within the phase of one method: timesteps evaluated while
/// `transferring`, and while `aligning` what each takes (see `align`).
pub fn run(
    context: &Context,
    diagnosed: &Diagnosed,
    baselines: &Baselines,
) -> Result<Candidates, Failure> {
    let before = context.cost();
    let alignments = Alignments::after(context, diagnosed);

    let mut selector = Selector { context, alignments, cpu_seconds: Vec::new(), shifts: false };
    let (candidates, ladder) = match &context.job.spec.methods {
        Methods::Auto => {
            let (candidates, steps) = climb(&mut selector, diagnosed, baselines)?;
            (candidates, Some(steps))
        }
        Methods::Named(methods) => (selector.named(methods)?, None),
    };
    Ok(Candidates {
        tried: candidates,
        cpu_seconds: selector.cpu_seconds,
        cost: context.cost() - before,
        ladder,
    })
}

/// `auto`: rung by rung, as long as the evidence asks for more.
fn climb(
    selector: &mut Selector,
    diagnosed: &Diagnosed,
    baselines: &Baselines,
) -> Result<(Vec<Candidate>, Vec<ladder::Step>), Failure> {
    let context = selector.context;
    let diagnosis = &diagnosed.diagnosis;
    let known = Known {
        cosine: diagnosis.base_cosines.matrices,
        fixed_points: diagnosis.relation.as_ref().map_or(0.0, |r| r.fixed_points),
        source_tuned: validation(baselines.source_tuned.as_ref()).map(|found| found.accuracy),
        has_train: context.inputs.splits.train.is_some(),
        across_widths: context.inputs.source.is_some(),
        target_loss: validation(baselines.target_before.as_ref()).map(|found| found.loss),
        loss_of_guessing: (context.learner.classes() as f64).ln(),
    };

    // Onto the same base it changes nothing.
    selector.shifts = known.one_lineage() && !diagnosis.identical_bases;

    let (mut candidates, mut steps) = (Vec::<Candidate>::new(), Vec::new());
    while let Some(mut step) = ladder::next(&known, &steps) {
        tracing::info!(method = step.method.name(), taken = step.taken, reason = step.reason);
        if step.taken {
            let leader = ladder::best(&candidates).map(|best| candidates[best].method);
            let on = leader.unwrap_or(Method::Identity);
            let candidate = selector.candidate(step.method, on)?;
            step.validation_accuracy = candidate.validation.as_ref().map(|v| v.accuracy);
            candidates.push(candidate);
        }
        steps.push(step);
    }
    Ok((candidates, steps))
}

fn validation(scores: Option<&Scores>) -> Option<&Evaluation> {
    scores?.validation.as_ref()
}

/// Makes candidates, one after another.
struct Selector<'b, 'a> {
    context: &'b Context<'a>,
    alignments: Alignments<'b, 'a>,
    /// Of the candidates so far.
    cpu_seconds: Vec<f64>,
    /// Identity is tried with the orthogonal shift too, whatever the specification says.
    shifts: bool,
}

impl Selector<'_, '_> {
    fn named(&mut self, methods: &[spec::Method]) -> Result<Vec<Candidate>, Failure> {
        let gradfix_on = self.context.job.spec.options.gradfix_on.into();
        methods.iter().map(|method| self.candidate((*method).into(), gradfix_on)).collect()
    }

    /// One method's candidate.
    fn candidate(&mut self, method: Method, gradfix_on: Method) -> Result<Candidate, Failure> {
        let context = self.context;
        let options = &context.job.spec.options;
        let selection = Selection { step: options.step.into(), alpha: options.alpha.into() };

        context.job.progress.phase(Phase::Aligning);
        let Aligned { alignment, cost, seconds } = self.alignments.of(method, gradfix_on)?;

        context.job.progress.phase(Phase::Transferring);
        let (before, start) = (context.cost(), Seconds::read());
        let progress = |done, total| context.advance(done, total, "timesteps");
        let problem = context.problem(&progress);
        let mut candidate = candidate::select(method, &problem, alignment.clone(), selection)?;
        if self.shifts && method == Method::Identity && !problem.orthogonal_shift {
            let problem = Problem { orthogonal_shift: true, ..problem };
            let shifted = candidate::select(method, &problem, alignment, selection)?;
            let mut both = vec![candidate, shifted];
            candidate = both.swap_remove(ladder::best(&both).unwrap_or(0));
        }

        candidate.cost = cost + (context.cost() - before);
        let seconds = seconds + start.passed();
        candidate.seconds = seconds.wall;
        self.cpu_seconds.push(seconds.cpu);
        candidate.builds_on = methods::builds_on(method, gradfix_on, context.source.is_some());
        tracing::info!(
            method = method.name(),
            seconds = candidate.seconds,
            accuracy = candidate.validation.as_ref().map(|v| v.accuracy),
            "candidate"
        );
        Ok(candidate)
    }
}

/// Chooses by validation and measures every candidate on the test split.
pub fn best(context: &Context, candidates: Candidates) -> Result<Choice, Failure> {
    let Candidates { tried: candidates, cpu_seconds, cost, ladder } = candidates;
    let chosen = ladder::best(&candidates).ok_or_else(|| Failure::Internal {
        code: "no_candidate",
        detail: "no method gave a candidate".into(),
    })?;

    let test = context.inputs.splits.test.as_ref();
    let tests = candidates
        .iter()
        .map(|candidate| test.map(|data| context.evaluate(&candidate.model, data)))
        .collect();
    Ok(Choice { candidates, cpu_seconds, cost, ladder, chosen, tests })
}

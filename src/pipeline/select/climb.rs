//! `auto`: rung by rung, as long as another candidate may be the better. Nothing is computed for a rung
//! before the climb comes to it.

use super::selector::Selector;
use crate::{
    contract::spec::Alpha,
    engine::{
        symmetry::Permutation,
        training::Dataset,
        transfer::{
            Method, Transport, by_group,
            ladder::{self, Known, Leader, Price, Step},
            race::Record,
        },
    },
    pipeline::{comparison::Measured, diagnose::Diagnosis, failure::Failure},
};

impl Selector<'_, '_> {
    /// The rungs that were taken and skipped.
    pub fn climb(&mut self, diagnosis: &Diagnosis) -> Result<Vec<Step>, Failure> {
        let mut known = self.known(diagnosis)?;
        // Onto the same base it changes nothing; by names nothing tells which of the two is the better.
        self.shifts = known.one_lineage() && !diagnosis.identical_bases && !known.by_names;

        let (mut steps, mut leader) = (Vec::new(), None);
        while let Some(mut step) = self.next(&mut known, &steps, leader.as_ref())? {
            tracing::info!(
                method = step.method.name(),
                taken = step.taken,
                reason = step.reason
            );
            if step.taken {
                self.take(&mut step, leader.as_ref())?;
                leader = self.leader(&known)?;
            }
            steps.push(step);
        }

        self.complete(&mut steps);
        if let Some(step) = self.by_group(&known, leader.as_ref())? {
            steps.push(step);
        }

        Ok(steps)
    }

    /// The best candidate with an α for each group of layers, where that may pay; a job that asks for it gets it anyway.
    fn by_group(
        &mut self,
        known: &Known,
        leader: Option<&Leader>,
    ) -> Result<Option<Step>, Failure> {
        let context = self.context;
        if context.job.spec.options.alpha != Alpha::Search {
            return Ok(None);
        }
        let samples = context.inputs.splits.train.as_ref().map_or(0, Dataset::len);
        let price = Price {
            search: by_group::most_passes(&context.inputs.graph, samples),
            // A gradient is as dear as three forward passes.
            epoch: 3 * samples,
        };
        let Some(mut step) = ladder::by_group(known, leader, price) else {
            return Ok(None);
        };

        tracing::info!(by_group = true, taken = step.taken, reason = step.reason);
        if step.taken {
            let before = context.cost();
            self.refine_best()?;
            let spent = context.cost() - before;
            step.sample_gradients = spent.sample_gradients;
            step.sample_forwards = spent.sample_forwards;
            let best =
                ladder::best(&self.tried).and_then(|best| self.tried[best].validation.as_ref());
            step.validation_accuracy = best.map(Record::accuracy);
        }
        Ok(Some(step))
    }

    /// Gives the rungs the figures of their candidates as they stand at the end: a leader sees more samples
    /// while others race it.
    fn complete(&self, steps: &mut [Step]) {
        for step in steps.iter_mut().filter(|step| step.taken) {
            let candidate = self
                .tried
                .iter()
                .find(|candidate| candidate.method == step.method);
            let record = candidate.and_then(|candidate| candidate.validation.as_ref());
            step.validation_accuracy = record.map(Record::accuracy);
        }
    }

    /// What is known before the first rung. Without validation the matching of the bases' weights may have
    /// to tell whether they are of one lineage.
    fn known(&mut self, diagnosis: &Diagnosis) -> Result<Known, Failure> {
        let context = self.context;
        let mut known = Known {
            cosine: diagnosis.cosine(),
            fixed_points: None,
            has_validation: context.blocks.is_some(),
            has_train: context.inputs.splits.train.is_some(),
            has_labels: !context.inputs.splits.unlabelled.train,
            across_widths: context.inputs.source.is_some(),
            by_names: context.inputs.graph.by_names().is_some(),
            target_loss: None,
            // Asked for only where there are samples to train on.
            loss_of_guessing: context
                .inputs
                .splits
                .train
                .as_ref()
                .map_or(f64::INFINITY, |train| {
                    context.learner.loss_of_guessing(train)
                }),
        };
        let is_told = known.has_validation || known.across_widths || known.by_names;
        if !(is_told || known.one_lineage()) {
            known.fixed_points = Some(self.fixed_points()?);
        }

        Ok(known)
    }

    /// The next rung, with what it takes to decide on it.
    fn next(
        &mut self,
        known: &mut Known,
        steps: &[Step],
        leader: Option<&Leader>,
    ) -> Result<Option<Step>, Failure> {
        let is_open = leader.is_some_and(|leader| !leader.standing.is_enough());
        if ladder::RUNGS.get(steps.len()) == Some(&Method::Gradfix) && is_open && known.has_train {
            known.target_loss = self.target_loss();
        }

        let Some(mut step) = ladder::next(known, steps, leader) else {
            return Ok(None);
        };

        if step.taken && step.method == Method::WeightMatching && leader.is_some() {
            let fixed_points = self.fixed_points()?;
            known.fixed_points = Some(fixed_points);
            if fixed_points >= 1.0 {
                step = Step {
                    taken: false,
                    reason: ladder::IS_IDENTITY.to_owned(),
                    ..step
                };
            }
        }

        Ok(Some(step))
    }

    fn take(&mut self, step: &mut Step, leader: Option<&Leader>) -> Result<(), Failure> {
        let on = leader.map_or(Method::Identity, |leader| leader.method);
        let candidate = self.add(step.method, on)?;
        step.sample_gradients = candidate.cost.sample_gradients;
        step.sample_forwards = candidate.cost.sample_forwards;
        Ok(())
    }

    /// The best candidate so far, beside the old tuned model.
    fn leader(&mut self, known: &Known) -> Result<Option<Leader>, Failure> {
        let Some((best, standing)) = self.standing()? else {
            return Ok(None);
        };
        let outdoes_permutations = self.outdoes_permutations(best, known);
        let candidate = &self.tried[best];
        let (Some(own), Some(old)) = (&candidate.validation, &self.old) else {
            return Ok(None);
        };

        let samples = own.samples().min(old.samples());

        Ok(Some(Leader {
            method: candidate.method,
            accuracy: own.accuracy_within(samples),
            old: old.accuracy_within(samples),
            samples,
            standing,
            outdoes_permutations,
        }))
    }

    /// Whether the best candidate is functional, and shown to be ahead of identity and weight matching.
    fn outdoes_permutations(&self, best: usize, known: &Known) -> bool {
        let best = &self.tried[best];
        let Some(own) = &best.validation else {
            return false;
        };

        // Where it leaves every unit in its place it is identity.
        let is_identity = known.fixed_points.is_some_and(|fixed| fixed >= 1.0);

        best.method == Method::Functional
            && self.is_outdone(Method::Identity, own) == Some(true)
            && self
                .is_outdone(Method::WeightMatching, own)
                .unwrap_or(is_identity)
    }

    /// Whether a method's candidate is shown to be behind; `None` where there is none.
    fn is_outdone(&self, method: Method, by: &Record) -> Option<bool> {
        let other = self
            .tried
            .iter()
            .find(|candidate| candidate.method == method)?;
        Some(self.rules()?.is_ahead(by, other.validation.as_ref()?))
    }

    /// Share of units that the π of the bases' weights leaves in their place.
    fn fixed_points(&mut self) -> Result<f64, Failure> {
        let matched = self
            .alignments
            .of(Method::WeightMatching, Method::Identity)?;
        let last = matched
            .alignment
            .transports
            .last()
            .and_then(Transport::permutation);
        Ok(last.map_or(0.0, Permutation::fixed_points))
    }

    /// Validation loss of the new base as it is.
    fn target_loss(&mut self) -> Option<f64> {
        if self.target.is_none() {
            let model = self.context.target_before();
            let record = self.context.validate(&model)?;
            self.target = Some(Measured { model, record });
        }
        self.target.as_ref().map(|target| target.record.loss())
    }
}

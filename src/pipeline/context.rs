//! A running transfer: its inputs, with what computes on them.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    rc::Rc,
};

use super::{
    cache::{DiskGradients, Origin},
    device,
    failure::{self, Failure},
    inputs::{Inputs, Splits},
    job::Job,
    meter,
    touch_up::TouchUp,
};
use crate::{
    contract::{plan::SampleCounts, spec},
    engine::{
        profiler::{Profiler, Work},
        tensors::Checkpoint,
        training::{Cost, Dataset, Evaluation, FineTunePlan, Learner, Teacher},
        transfer::{
            Problem, Stores,
            race::{Arm, Blocks, Race, Record, Rules, Track},
        },
    },
};

/// Inputs, with what computes on them.
pub struct Context<'a> {
    pub inputs: &'a Inputs,
    pub job: &'a Job<'a>,
    pub learner: Learner<'a>,
    /// Runs the source's models, where they differ in width.
    pub source: Option<Learner<'a>>,
    /// Of the new base's classes, whether the old tuned model has each; empty: all of them.
    known_classes: Vec<bool>,
    pub profiler: Profiler,
    /// The validation samples that choose.
    pub blocks: Option<Blocks>,
    /// What the methods so far have on disk.
    pub gradients: RefCell<Vec<Rc<DiskGradients<'a>>>>,
    /// Where the π of the bases' weights came from; `None` where nobody asked the cache.
    pub weight_matching: Cell<Option<Origin>>,
}

impl<'a> Context<'a> {
    pub fn new(inputs: &'a Inputs, job: &'a Job<'a>) -> Result<Self, Failure> {
        let learner = if inputs.graph.has_loss() {
            device::learner(&inputs.graph, &inputs.signature)
                .map_err(failure::graph("/target/base", &job.spec.target.base))?
        } else {
            Learner::idle(&inputs.graph, device::device())
        };

        let source = inputs.source.as_ref().map(|(graph, signature)| {
            device::learner(graph, signature)
                .map_err(failure::graph("/source/base", &job.spec.source.base))
        });
        let (source, profiler) = (source.transpose()?, Profiler::new(meter::now));
        let (gradients, weight_matching) = (RefCell::default(), Cell::default());
        let options = &job.spec.options;
        let validation = inputs.splits.validation.as_ref();
        let blocks =
            validation.map(|data| Blocks::draw(data, options.selection.samples, options.seed));

        Ok(Self {
            inputs,
            job,
            learner,
            source,
            known_classes: known_classes(inputs),
            profiler,
            blocks,
            gradients,
            weight_matching,
        })
    }

    /// What was computed so far, on either network.
    pub fn cost(&self) -> Cost {
        self.source
            .as_ref()
            .map_or_else(Cost::default, Learner::cost)
            + self.learner.cost()
            + self.inputs.labelling
    }

    /// The problem as the methods see it; `go_on` hears of each timestep.
    pub fn problem<'p>(
        &'p self,
        go_on: &'p dyn Fn(usize, usize) -> ControlFlow<()>,
    ) -> Problem<'p> {
        let (inputs, options) = (self.inputs, &self.job.spec.options);
        Problem {
            learner: &self.learner,
            source: self.source.as_ref(),
            symmetry: &inputs.symmetry,
            trajectory: &inputs.trajectory,
            target: &inputs.target.checkpoint,
            head: options.head.into(),
            orthogonal_shift: options.orthogonal_shift,
            train: inputs.splits.train.as_ref(),
            validation: inputs.splits.validation.as_ref(),
            batch_size: options.batch_size,
            weight_anchor: options.weight_anchor,
            start: None,
            seed: options.seed,
            profiler: &self.profiler,
            stores: Stores::IN_MEMORY,
            go_on,
        }
    }

    /// The budget of training that the specification grants.
    pub fn stage(&self) -> Option<Stage<'_>> {
        let wanted = self.job.spec.fine_tune.as_ref()?;
        let touch_up = self.touch_up(wanted);
        let plan = FineTunePlan {
            warmup: touch_up.warmup,
            clip: touch_up.clip,
            pull: touch_up.pull,
            low_rank: wanted.lora_rank,
            looks: touch_up.looks,
            teacher: (wanted.labels == spec::Labels::OldModel).then(|| self.old_model()),
            ..self.plain_plan(wanted)
        };

        Some(Stage {
            plan,
            tries_rates: touch_up.tries_rates,
            is_trial: false,
        })
    }

    /// With what the oracle fine-tunes the target first: plain training on the labels, of the same budget
    /// or the default one.
    pub fn oracle_plan(&self) -> FineTunePlan<'_> {
        self.plain_plan(&self.job.spec.fine_tune.clone().unwrap_or_default())
    }

    fn touch_up(&self, wanted: &spec::FineTune) -> TouchUp {
        let Splits {
            train,
            validation,
            test,
            ..
        } = &self.inputs.splits;
        let [train, validation, test] =
            [train, validation, test].map(|data| data.as_ref().map_or(0, Dataset::len));

        TouchUp::of(
            wanted,
            SampleCounts {
                train,
                validation,
                test,
            },
        )
    }

    /// The old tuned model as a teacher.
    pub fn old_model(&self) -> Teacher<'_> {
        Teacher {
            learner: self.source.as_ref().unwrap_or(&self.learner),
            model: self.inputs.trajectory.tuned(),
            known: &self.known_classes,
        }
    }

    fn plain_plan(&self, wanted: &spec::FineTune) -> FineTunePlan<'_> {
        let learning_rate = self.touch_up(wanted).learning_rate;
        FineTunePlan {
            batch_size: wanted.batch_size,
            seed: self.job.spec.options.seed,
            validation: self.inputs.splits.validation.as_ref(),
            stop_at: wanted.stop_at,
            ..FineTunePlan::new(wanted.optimizer.into(), wanted.epochs, learning_rate)
        }
    }

    /// Loss and accuracy of a model that the target's network runs.
    pub fn evaluate(&self, model: &Checkpoint, data: &Dataset) -> Evaluation {
        self.evaluate_by(&self.learner, model, data)
    }

    /// The same on a network of the caller's.
    pub fn evaluate_by(&self, learner: &Learner, model: &Checkpoint, data: &Dataset) -> Evaluation {
        self.profiler
            .book(Work::Evaluation, || learner.evaluate(model, data))
    }

    /// The race by which this job chooses; none without validation.
    pub fn race(&self) -> Option<Race<'_>> {
        let rules = Rules::from(self.job.spec.options.selection);
        self.blocks.as_ref().map(|blocks| Race { blocks, rules })
    }

    /// Where a model of this network, or of the source's, races.
    pub fn track<'t>(
        &'t self,
        learner: &'t Learner<'t>,
        blocks: &'t Blocks,
        go_on: &'t dyn Fn(usize) -> ControlFlow<()>,
    ) -> Track<'t> {
        Track {
            learner,
            profiler: &self.profiler,
            blocks,
            go_on,
        }
    }

    /// A model that the target's network runs, on all samples that choose.
    pub fn validate(&self, model: &Checkpoint) -> Option<Record> {
        let data = self.blocks.as_ref()?.all();
        Some(Record::of(&self.evaluate(model, data), data))
    }

    /// A model's record on all samples that choose, given that of the first of them; `None` without a race.
    ///
    /// # Errors
    /// When the job is stopped.
    pub fn completed(
        &self,
        learner: &Learner,
        model: &Checkpoint,
        record: Record,
    ) -> Result<Option<Record>, Failure> {
        let Some(race) = self.race() else {
            return Ok(None);
        };

        let go_on: &dyn Fn(usize) -> ControlFlow<()> = &|_| self.go_on();
        let track = self.track(learner, race.blocks, go_on);
        let mut arm = Arm::new(track, move || model.clone()).after(record);
        race.finish(&mut arm)?;
        Ok(Some(arm.into_parts().1))
    }

    /// The new base with running statistics of the training samples.
    pub fn target_before(&self) -> Checkpoint {
        let problem = self.problem(&|_, _| ControlFlow::Continue(()));
        problem.with_statistics(&self.inputs.target.checkpoint)
    }

    /// What earlier attempts had left of all methods so far, by a count of one method's.
    pub fn resumed(&self, count: impl Fn(&DiskGradients<'a>) -> usize) -> usize {
        let gradients = self.gradients.borrow();
        gradients.iter().map(|gradients| count(gradients)).sum()
    }

    /// Removes the gradients on disk: every method has what it wanted.
    pub fn forget_gradients(&self) {
        for gradients in self.gradients.borrow().iter() {
            gradients.done();
        }
    }

    /// Reports progress and says whether to go on.
    pub fn advance(&self, done: usize, total: usize, unit: &'static str) -> ControlFlow<()> {
        self.job.progress.advance(done as u64, total as u64, unit);
        self.go_on()
    }

    /// Whether to go on.
    pub fn go_on(&self) -> ControlFlow<()> {
        match self.job.progress.go_on() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// A stage of training.
#[derive(Clone)]
pub struct Stage<'a> {
    pub plan: FineTunePlan<'a>,
    /// Whether trials choose the learning rate.
    pub tries_rates: bool,
    /// Whether it only shows what a learning rate is worth: the test split has no say in that.
    pub is_trial: bool,
}

/// Classes, or tokens, of the new base that the old tuned model has too; empty: all of them.
fn known_classes(inputs: &Inputs) -> Vec<bool> {
    let head = inputs.graph.head().map(|head| format!("{head}.weight"));
    let rows = head.and_then(|weight| inputs.trajectory.rows_of(&weight));
    rows.map_or_else(Vec::new, |rows| {
        rows.rows.iter().map(Option::is_some).collect()
    })
}

//! Makes candidates, one after another.

use std::ops::ControlFlow;

use crate::{
    contract::{outcome::Phase, spec::Methods},
    engine::{
        tensors::Checkpoint,
        training::Cost,
        transfer::{
            Alignment, Candidate, Method, Problem,
            candidate::{self, Incumbents, Selection},
            ladder, methods,
            race::{Arm, Race, Record, Rules, Runner, Standing, Track},
        },
    },
    pipeline::{
        align::{Aligned, Alignments},
        comparison::Measured,
        context::Context,
        failure::Failure,
        meter::Seconds,
    },
};

/// Asked before every block with its samples.
type GoOn<'t> = &'t dyn Fn(usize) -> ControlFlow<()>;

/// The candidates so far, and what they are compared with.
pub struct Selector<'b, 'a> {
    pub context: &'b Context<'a>,
    pub alignments: Alignments<'b, 'a>,
    pub tried: Vec<Candidate>,
    /// Of the candidates so far.
    pub cpu_seconds: Vec<f64>,
    /// What the old tuned model did on validation samples; `None` without validation.
    pub old: Option<Record>,
    /// The new base, where it was asked for.
    pub target: Option<Measured>,
    /// Spent on evaluations that choose, and on statistics for them.
    pub choosing: Cost,
    /// Identity is tried with the orthogonal shift too, whatever the specification says.
    pub shifts: bool,
}

impl<'b, 'a> Selector<'b, 'a> {
    pub fn new(context: &'b Context<'a>) -> Self {
        Self {
            context,
            alignments: Alignments::new(context),
            tried: Vec::new(),
            cpu_seconds: Vec::new(),
            old: context.blocks.as_ref().map(|_| Record::default()),
            target: None,
            choosing: Cost::default(),
            shifts: false,
        }
    }

    /// Adds a method's candidate.
    pub fn add(&mut self, method: Method, gradfix_on: Method) -> Result<&Candidate, Failure> {
        let context = self.context;
        context.job.progress.phase(Phase::Aligning);
        let Aligned {
            alignment,
            cost,
            seconds,
        } = self.alignments.of(method, gradfix_on)?;

        context.job.progress.phase(Phase::Transferring);
        let (start, before) = (Seconds::read(), context.cost());
        let seen = self.old_samples();
        let mut candidate = match self.same_as(&alignment) {
            Some(other) => told_anew(other, method, alignment),
            None => self.select(method, alignment)?,
        };

        let spent = context.cost() - before;
        self.choosing = self.choosing + spent;
        // The old tuned model runs once for all candidates.
        let old = context.source.as_ref().unwrap_or(&context.learner);
        candidate.cost = cost + (spent - old.cost_of_forwards(self.old_samples() - seen));

        let seconds = seconds + start.passed();
        candidate.seconds = seconds.wall;
        self.cpu_seconds.push(seconds.cpu);
        candidate.builds_on = methods::builds_on(method, gradfix_on, context.source.is_some());
        tracing::info!(
            method = method.name(),
            seconds = candidate.seconds,
            accuracy = candidate.validation.as_ref().map(Record::accuracy),
            samples = candidate.validation.as_ref().map(Record::samples),
            "candidate"
        );
        self.tried.push(candidate);
        Ok(&self.tried[self.tried.len() - 1])
    }

    /// Where the best candidate so far stands beside the old tuned model; `None` without validation.
    pub fn standing(&mut self) -> Result<Option<(usize, Standing)>, Failure> {
        let Some(best) = ladder::best(&self.tried) else {
            return Ok(None);
        };
        let before = self.context.cost();
        let mut candidate = self.tried.swap_remove(best);
        let standing = self.standing_of(&mut candidate);
        // Back into its place.
        self.tried.push(candidate);
        let last = self.tried.len() - 1;
        self.tried.swap(best, last);
        self.choosing = self.choosing + (self.context.cost() - before);
        Ok(standing?.map(|standing| (best, standing)))
    }

    /// Samples that the old tuned model has seen.
    fn old_samples(&self) -> usize {
        self.old.as_ref().map_or(0, Record::samples)
    }

    /// A candidate whose models are these, transport by transport.
    fn same_as(&self, alignment: &Alignment) -> Option<&Candidate> {
        self.tried.iter().find(|candidate| {
            let found = self.alignments.found(candidate.method);
            found.is_some_and(|found| found.alignment.is_same(alignment))
        })
    }

    /// The best step and α of an alignment; of identity with the orthogonal shift or without.
    fn select(&mut self, method: Method, alignment: Alignment) -> Result<Candidate, Failure> {
        let context = self.context;
        let progress = |done, total| context.advance(done, total, "validation samples");
        let problem = context.problem(&progress);
        let best = ladder::best(&self.tried);
        let mut leader = best.map(|best| self.tried[best].clone());

        let found = self.race(method, &problem, alignment.clone(), leader.as_mut());
        if let (Some(best), Some(leader)) = (best, leader) {
            self.tried[best].validation = leader.validation;
        }

        let mut plain = found?;

        // Without validation nothing tells the two apart, and the plain update is what everybody else adds.
        let shifts = self.shifts
            && method == Method::Identity
            && !problem.orthogonal_shift
            && plain.validation.is_some();
        if !shifts
            || self
                .standing_of(&mut plain)?
                .is_some_and(Standing::is_enough)
        {
            return Ok(plain);
        }

        let problem = Problem {
            orthogonal_shift: true,
            ..problem
        };
        let shifted = self.race(method, &problem, alignment, Some(&mut plain))?;
        let mut both = vec![plain, shifted];
        Ok(both.swap_remove(ladder::best(&both).unwrap_or(0)))
    }

    /// One alignment's points, which race the old tuned model and, under `auto`, the best so far.
    fn race(
        &mut self,
        method: Method,
        problem: &Problem,
        alignment: Alignment,
        leader: Option<&mut Candidate>,
    ) -> Result<Candidate, Failure> {
        let context = self.context;
        let options = &context.job.spec.options;
        let is_auto = context.job.spec.methods == Methods::Auto;
        let race = self.rules();
        let selection = Selection {
            step: options.step.into(),
            alpha: options.alpha.into(),
            race,
            completes: !is_auto,
        };

        let Some(race) = race else {
            let incumbents = Incumbents::default();
            return Ok(candidate::select(
                method, problem, alignment, selection, incumbents,
            )?);
        };

        let go_on: GoOn = &|_| context.go_on();
        let mut old = Side::old(context, race, go_on, self.old.take());
        let leader = leader.filter(|_| is_auto);
        let mut ahead = leader
            .as_deref()
            .map(|leader| Side::own(context, race, go_on, leader));
        let incumbents = Incumbents {
            old: Some(&mut old),
            leader: ahead.as_mut().map(|arm| arm as &mut dyn Runner),
        };
        let found = candidate::select(method, problem, alignment, selection, incumbents);

        self.old = Some(old.into_parts().1);
        if let (Some(leader), Some(arm)) = (leader, ahead) {
            leader.validation = Some(arm.into_parts().1);
        }
        Ok(found?)
    }

    /// Where one candidate stands beside the old tuned model.
    fn standing_of(&mut self, candidate: &mut Candidate) -> Result<Option<Standing>, Failure> {
        let Some(race) = self.rules() else {
            return Ok(None);
        };
        let context = self.context;
        let go_on: GoOn = &|_| context.go_on();
        let mut old = Side::old(context, race, go_on, self.old.take());
        let mut own = Side::own(context, race, go_on, candidate);
        let standing = race.standing(&mut own, &mut old);
        let (own, old) = (own.into_parts().1, old.into_parts().1);

        // The best of several on these samples looks better than it is: what one model is by its figures has
        // to be shown of it, until a fit has been tried that rests on other samples.
        let has_fit = self
            .tried
            .iter()
            .any(|one| one.method == Method::Functional);
        let is_searched = candidate.is_searched();
        let standing = standing?;
        let standing = match standing {
            Standing::Ahead if is_searched && !has_fit => shown(race, &own, &old),
            standing => standing,
        };

        candidate.validation = Some(own);
        self.old = Some(old);
        Ok(Some(standing))
    }

    /// The race of this job. The rungs of `auto`, of which identity may run twice, share its error.
    pub fn rules(&self) -> Option<Race<'b>> {
        let race = self.context.race()?;
        let is_auto = self.context.job.spec.methods == Methods::Auto;
        let candidates = if is_auto { ladder::RUNGS.len() + 1 } else { 1 };
        let rules = Rules {
            races: candidates * candidate::RACES,
            ..race.rules
        };
        Some(Race { rules, ..race })
    }
}

/// Where a model that is not behind stands by what is shown alone.
fn shown(race: Race, own: &Record, old: &Record) -> Standing {
    let samples = own.samples().min(old.samples());
    let pair = own.beside(old, samples);
    if race.is_ahead(own, old) {
        Standing::Ahead
    } else if pair.is_within(race.rules.margin, race.rules.confidence) {
        Standing::WithinMargin
    } else {
        Standing::Undecided
    }
}

/// Models that candidates race against.
struct Side;

impl Side {
    /// The old tuned model, on its own network.
    fn old<'t>(
        context: &'t Context<'_>,
        race: Race<'t>,
        go_on: GoOn<'t>,
        record: Option<Record>,
    ) -> Arm<'t> {
        let learner = context.source.as_ref().unwrap_or(&context.learner);
        let track: Track<'t> = context.track(learner, race.blocks, go_on);
        let tuned: &'t Checkpoint = context.inputs.trajectory.tuned();
        Arm::new(track, move || tuned.clone()).after(record.unwrap_or_default())
    }

    /// A candidate that was chosen before.
    fn own<'t>(
        context: &'t Context<'_>,
        race: Race<'t>,
        go_on: GoOn<'t>,
        candidate: &Candidate,
    ) -> Arm<'t> {
        let track = context.track(&context.learner, race.blocks, go_on);
        let model = candidate.model.clone();
        Arm::new(track, move || model.clone())
            .after(candidate.validation.clone().unwrap_or_default())
    }
}

/// The same models by another method: its own evidence beside what they did.
fn told_anew(other: &Candidate, method: Method, alignment: Alignment) -> Candidate {
    let Alignment {
        evidence,
        groups,
        mask,
        maps,
        functional,
        ..
    } = alignment;
    Candidate {
        method,
        evidence,
        groups,
        mask,
        maps,
        functional,
        ..other.clone()
    }
}

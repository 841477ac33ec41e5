//! How long a job takes on this machine, by phase: counts of work times measured speeds. Meant to be right
//! within a factor of two.
//!
//! What headers cannot show is assumed: descents of two sweeps, of which the first adds the new pair and the
//! other corrects as much as one pass over all pairs; a fine-tuning that runs all its epochs. Under `auto`
//! nobody knows how many rungs are needed: the most is every rung and all that is compared with them, the least
//! is the first one.

mod aligning;
mod evaluating;
mod training;

use super::{
    sizes::{Bytes, Job},
    work::Work,
};
use crate::{
    contract::plan::{Estimate, PhasePlan, Speeds},
    engine::transfer::Method,
};

/// The work of one phase.
struct PhaseWork {
    phase: &'static str,
    work: Work,
}

/// What a job may run.
struct Rungs<'m> {
    methods: &'m [Method],
    transferring: Work,
    /// Plain training that they are compared with.
    few_shot: Work,
}

impl Job<'_> {
    /// Phases, and everything without another word, are those of the most that it can take.
    pub fn estimate(&self, speeds: &Speeds) -> Estimate {
        let rungs = Rungs {
            methods: self.methods,
            transferring: self.all_transferring(),
            few_shot: self.few_shot(),
        };
        let phases = self.phases(rungs);
        let seconds = self.seconds(&phases, speeds);

        let least = if self.is_auto() {
            self.seconds(&self.phases(self.first_rung()), speeds)
        } else {
            seconds
        };

        Estimate {
            seconds: rounded(seconds),
            seconds_least: rounded(least),
            memory_bytes: self.most_memory().round(),
            read_bytes: self.bytes.models + self.bytes.data,
            written_bytes: self.bytes.result,
            flops: phases.iter().map(|one| one.work.flops(&self.load)).sum(),
            phases: phases.iter().map(|one| self.phase(one, speeds)).collect(),
            memory_by_stage: self.memory_by_stage(),
        }
    }

    /// Of all phases together.
    fn seconds(&self, phases: &[PhaseWork], speeds: &Speeds) -> f64 {
        phases
            .iter()
            .map(|one| one.work.seconds(&self.load, speeds))
            .sum()
    }

    fn phase(&self, PhaseWork { phase, work }: &PhaseWork, speeds: &Speeds) -> PhasePlan {
        PhasePlan {
            phase: (*phase).to_owned(),
            seconds: rounded(work.seconds(&self.load, speeds)),
            flops: work.flops(&self.load),
            bytes: work.bytes,
        }
    }

    /// One look at the first method alone.
    fn first_rung(&self) -> Rungs<'_> {
        let methods = &self.methods[..self.methods.len().min(1)];
        let (look, few_shot) = (self.evaluations(1.0, self.choosing()), Work::default());
        Rungs {
            methods,
            transferring: look,
            few_shot,
        }
    }

    fn phases(&self, rungs: Rungs) -> [PhaseWork; 6] {
        let Rungs {
            methods,
            transferring,
            few_shot,
        } = rungs;
        let Bytes {
            models,
            data,
            result,
            ..
        } = self.bytes;
        // A model's file is digested and then looked through.
        let fetching = Work {
            bytes: (models + data) as f64,
            ..Work::default()
        };

        let publishing = Work {
            bytes: result as f64,
            elements: self.elements(1.0),
            ..Work::default()
        };
        let mut aligning = Work::default();
        methods
            .iter()
            .for_each(|method| aligning += self.aligning(*method));

        [
            ("fetching", fetching),
            ("diagnosing", self.diagnosing()),
            ("aligning", aligning),
            ("transferring", transferring),
            ("fine_tuning", self.fine_tuning(few_shot)),
            ("publishing", publishing),
        ]
        .map(|(phase, work)| PhaseWork { phase, work })
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests;

//! Racing: which of several models is the best, on no more validation samples than it takes to tell.
//!
//! All arms meet the same shuffled samples in growing blocks ([`Blocks`]). After each block every arm is
//! compared with the leader on the samples that both have seen, in pairs. An arm is dropped where the sign
//! test shows it to be behind, or where it stands after the leader in the order and is shown to be ahead by
//! less than the margin. Only the others see more. (Maron and Moore, "Hoeffding races", 1994; the test here
//! is the exact sign test, its error shared out over arms and blocks.)
//!
//! An arm sees a block once, however many races it is in. The test split is not known here.

mod arm;
mod blocks;
mod record;

pub use arm::{Arm, Track};
pub use blocks::Blocks;
pub use record::Record;

use super::error::TransferError;

/// How many samples choose, and how sure a choice is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Validation samples that a race uses, at most.
    pub samples: usize,
    /// 1 less the error that is made at most when arms are dropped, and when one model is said to be within
    /// the margin of another; in (0.5, 1).
    pub confidence: f64,
    /// Accuracy lost without regret, in [0, 1].
    pub margin: f64,
    /// Races that share the error of dropping arms, at least 1.
    pub races: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            samples: 512,
            confidence: 0.95,
            margin: 0.01,
            races: 1,
        }
    }
}

impl Rules {
    /// The error that each of so many parts may make.
    fn shared(&self, parts: usize) -> f64 {
        (1.0 - self.confidence) / (self.races.max(1) * parts.max(1)) as f64
    }
}

/// A model in a race.
pub trait Runner {
    /// What it did so far.
    fn record(&self) -> &Record;

    /// Evaluates the next block.
    ///
    /// # Errors
    /// When the caller interrupts.
    fn advance(&mut self) -> Result<(), TransferError>;

    /// The race is over for it: what it holds may go.
    fn rest(&mut self) {}
}

/// One model beside another that is not to be lost by changing to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On all samples at least as accurate.
    Ahead,
    /// Shown to be behind by less than the margin.
    WithinMargin,
    /// Neither is shown.
    Undecided,
    /// Shown to be behind, and by more than the margin as far as the samples tell.
    Behind,
}

impl Standing {
    /// Whether there is no need to look for a better model.
    pub fn is_enough(self) -> bool {
        matches!(self, Self::Ahead | Self::WithinMargin)
    }
}

/// A race over these blocks by these rules.
#[derive(Clone, Copy)]
pub struct Race<'r> {
    pub blocks: &'r Blocks,
    pub rules: Rules,
}

impl Race<'_> {
    /// Runs the arms until one is left or the samples end; the position of the best. Of equally accurate
    /// arms it is the first: they stand in the order of preference, the cheaper before the dearer.
    ///
    /// # Errors
    /// When the caller interrupts.
    ///
    /// # Panics
    /// Without an arm.
    pub fn run(&self, arms: &mut [&mut dyn Runner]) -> Result<usize, TransferError> {
        let error = self.rules.shared((arms.len() - 1) * self.blocks.count());
        let mut alive: Vec<usize> = (0..arms.len()).collect();

        for seen in 1..=self.blocks.count() {
            self.bring(arms, &alive, seen)?;
            let leader = self.leader(arms, &alive, seen);
            let (kept, dropped): (Vec<usize>, Vec<usize>) = alive.into_iter().partition(|&arm| {
                arm == leader || !self.is_beaten(arms, Pair { arm, leader }, seen, error)
            });
            dropped.into_iter().for_each(|arm| arms[arm].rest());
            alive = kept;
            if alive.len() == 1 {
                return Ok(leader);
            }
        }
        Ok(self.leader(arms, &alive, self.blocks.count()))
    }

    /// Where one model stands beside another, on as few blocks as show it.
    ///
    /// # Errors
    /// When the caller interrupts.
    pub fn standing(
        &self,
        one: &mut dyn Runner,
        other: &mut dyn Runner,
    ) -> Result<Standing, TransferError> {
        let error = self.rules.shared(self.blocks.count());
        for seen in 1..=self.blocks.count() {
            self.bring(&mut [&mut *one, &mut *other], &[0, 1], seen)?;
            let pair = one
                .record()
                .beside(other.record(), self.blocks.within(seen));
            let is_shown = pair.sign_test() <= error;
            if is_shown && pair.ahead > pair.behind && pair.difference() >= 0.0 {
                return Ok(Standing::Ahead);
            }
            if is_shown && pair.behind > pair.ahead && pair.difference() < -self.rules.margin {
                return Ok(Standing::Behind);
            }
        }

        let all = one.record().beside(other.record(), self.blocks.samples());
        Ok(if all.difference() >= 0.0 {
            Standing::Ahead
        } else if all.is_within(self.rules.margin, self.rules.confidence) {
            Standing::WithinMargin
        } else {
            Standing::Undecided
        })
    }

    /// Whether the first is shown to be ahead of the second, on what both have seen.
    pub fn is_ahead(&self, one: &Record, other: &Record) -> bool {
        let seen = one.samples().min(other.samples());
        let pair = one.beside(other, seen);
        pair.ahead > pair.behind && pair.sign_test() <= self.rules.shared(self.blocks.count())
    }

    /// Lets an arm see all blocks.
    ///
    /// # Errors
    /// When the caller interrupts.
    pub fn finish(&self, arm: &mut dyn Runner) -> Result<(), TransferError> {
        self.bring(&mut [arm], &[0], self.blocks.count())
    }

    /// Lets these arms see the first `seen` blocks.
    pub fn bring(
        &self,
        arms: &mut [&mut dyn Runner],
        alive: &[usize],
        seen: usize,
    ) -> Result<(), TransferError> {
        let wanted = self.blocks.within(seen);
        for &arm in alive {
            while arms[arm].record().samples() < wanted {
                arms[arm].advance()?;
            }
        }
        Ok(())
    }

    /// The first of the most accurate on so many blocks.
    fn leader(&self, arms: &[&mut dyn Runner], alive: &[usize], seen: usize) -> usize {
        let samples = self.blocks.within(seen);
        let right = alive
            .iter()
            .map(|&arm| (arm, arms[arm].record().accuracy_within(samples)));
        let best = right.reduce(|best, one| if one.1 > best.1 { one } else { best });
        best.map_or(0, |(arm, _)| arm)
    }

    /// Whether an arm is out of the race: behind the leader, or after it and not ahead by the margin.
    fn is_beaten(
        &self,
        arms: &[&mut dyn Runner],
        Pair { arm, leader }: Pair,
        seen: usize,
        error: f64,
    ) -> bool {
        let samples = self.blocks.within(seen);
        let (own, best) = (arms[arm].record(), arms[leader].record());
        let lead = best.beside(own, samples);
        let is_behind = lead.ahead > lead.behind && lead.sign_test() <= error;
        is_behind || (arm > leader && lead.is_within(self.rules.margin, 1.0 - error))
    }
}

/// An arm and the leader, by their positions.
#[derive(Clone, Copy)]
struct Pair {
    arm: usize,
    leader: usize,
}

#[cfg(test)]
mod tests;

//! A group of units, and the axes that follow it.

use crate::network::Role;

/// Units that may be reordered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The prefix of the first tensor that the group's units come from.
    pub name: String,
    pub units: usize,
    pub members: Vec<Member>,
}

/// An axis that follows a group: `repeat` entries of the axis from [`Member::first`] on belong to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub tensor: String,
    pub axis: usize,
    pub start: usize,
    /// Consecutive entries a unit owns.
    pub repeat: usize,
    /// So many consecutive units share an entry, one where each has its own: the channels of a head, which
    /// stay together.
    pub share: usize,
    /// Where units lie in several runs: a projection that is fused by heads.
    pub runs: Option<Runs>,
    pub role: Role,
}

/// Runs of consecutive units, from each to the next more entries than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Units of a run.
    pub units: usize,
    /// Entries from the start of a run to that of the next.
    pub period: usize,
}

impl Member {
    /// The first entry of a unit.
    pub fn first(&self, unit: usize) -> usize {
        match self.runs {
            None => self.start + unit / self.share * self.repeat,
            Some(Runs { units, period }) => {
                self.start + unit / units * period + unit % units * self.repeat
            }
        }
    }
}

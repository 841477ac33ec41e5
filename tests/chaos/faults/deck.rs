//! Which kind comes next.

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{KINDS, Kind};

/// Kinds without end: each until it has struck once, then by their weight.
pub struct Deck {
    /// The last is drawn next.
    owed: Vec<Kind>,
}

impl Deck {
    /// Every kind that a run allows is owed, in an order that is drawn.
    pub fn shuffled(rng: &mut ChaCha8Rng, takes_guests: bool) -> Self {
        let mut owed: Vec<Kind> = Kind::all()
            .filter(|kind| takes_guests || !kind.is_a_guest())
            .collect();
        owed.shuffle(rng);
        Self { owed }
    }

    /// Whether a kind has not struck yet that is to be drawn for that.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Has a kind drawn again that found nothing to strike, after the others that are owed.
    pub fn owe(&mut self, kind: Kind) {
        if !self.owed.contains(&kind) {
            self.owed.insert(0, kind);
        }
    }

    pub fn draw(&mut self, rng: &mut ChaCha8Rng) -> Kind {
        if let Some(kind) = self.owed.pop() {
            return kind;
        }
        let total: u32 = KINDS.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.random_range(0..total);
        for (kind, weight) in KINDS {
            if at < weight {
                return kind;
            }
            at -= weight;
        }
        Kind::WorkerKill
    }
}

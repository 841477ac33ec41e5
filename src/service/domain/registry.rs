//! Retuning by itself: types and rules; no I/O.
//!
//! A base model has versions. A fine-tune was tuned from one of them, and its policy says what makes
//! it be carried over: a new version, an alias that moves, or a wish. Such an occasion makes one
//! *retune*, with one transfer for each fine-tune concerned. A transfer that succeeds makes a version
//! of its fine-tune; the policy says whether that is proposed, published or promoted. What its gate
//! has rejected is kept as a record and never promoted.

pub mod arrivals;
pub mod base_models;
pub mod cards;
pub mod fine_tunes;
pub mod inbound;
mod names;
pub mod occasions;
mod order;
pub mod retunes;

pub use names::{check_metadata, check_name, check_text, is_name};
pub use order::{Release, is_newer};

/// The alias that a policy of mode `promote` moves, and that promotions by hand move by default.
pub const PRODUCTION: &str = "production";

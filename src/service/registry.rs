//! What happens to base models, fine-tunes, retunes and their transfers: each use case in one transaction.
//!
//! Order of events: a use case opens a scope, locks, asks and writes through `database`, which has the
//! queries, records its events and its audit entry, and commits. Locks are taken in one order: base
//! model, transfers by id, fine-tune, retunes by id.

pub mod alias_moved;
pub mod arrivals;
pub mod attempts;
mod begin;
pub mod by_hand;
mod cancel;
pub mod control;
mod deliver;
mod ends;
pub mod evaluations;
pub mod fine_tunes;
pub mod new_version;
pub mod promote;
pub mod removal;
mod settle;
pub mod submit;
pub mod successors;
mod supersede;
pub mod transitions;

//! What happens to base models, fine-tunes, retunes, transfers, deliveries and keys: each use case in one
//! transaction.
//!
//! Order of events: a use case opens a scope, locks, asks and writes through `database`, which has the
//! queries, records its events and its audit entry, and commits. Locks are taken in one order: base
//! model, transfers by id, fine-tune, retunes by id.

pub mod alias_moved;
pub mod arrivals;
mod attempt_ends;
pub mod attempts;
pub mod base_models;
mod begin;
pub mod by_hand;
mod cancel;
pub mod clock;
pub mod control;
mod deliver;
pub mod delivery_attempts;
pub mod endpoints;
pub mod evaluations;
pub mod fine_tunes;
pub mod inbound_addresses;
pub mod keys;
pub mod new_version;
pub mod promote;
pub mod redelivery;
pub mod removal;
pub mod retention;
mod settle;
pub mod submit;
pub mod successors;
mod supersede;
pub mod tenant_settings;
pub mod transitions;

//! Webhooks out: whoever subscribed is told of every event, at least once, in no promised order.
//!
//! Order of events: the transaction that writes an event writes its deliveries too (a trigger), so
//! none is lost and none is made up. `serve` runs a [`Sender`], which claims deliveries under a short
//! lease, posts them with no transaction open, and records what came of it; a sender that dies in
//! between leaves a lease that runs out, and the next one posts again. Bodies are `CloudEvents` 1.0,
//! signatures those of Standard Webhooks. No redirect is followed, no proxy asked, and no private
//! address reached unless the settings allow it ([`Guard`]).

mod address;
mod delivery;

pub use address::{AddressError, Guard, Lookup, lookup};
pub use delivery::Sender;

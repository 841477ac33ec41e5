//! The networked service. No tensor, no burn: numerics are reached through `pipeline` alone.

// Types and rules; no I/O.
pub mod domain;

// All SQL, one file per table.
pub mod database;

// What happens to base models, fine-tunes, retunes and transfers: each use case in one transaction.
pub mod registry;

// The embedded default: a PostgreSQL of our own under the data dir.
pub mod private_cluster;

// Works off what is leased from the database: transfers, deliveries, announcements, listings.
pub mod queue;

// Runs transfers and hands them back.
pub mod worker;

// Looks at what has been announced, and registers what is a new base.
pub mod arrivals;

// Tells subscribers of events: addresses, signatures, deliveries.
pub mod webhooks;

// Whether a location holds a model, and the model's digest.
pub mod model_files;

// A retune seen as one.
pub mod campaign;

// Reads what finished transfers left in storage.
pub mod results;

// What the handlers of API and dashboard share.
pub mod state;

// The figures of a process, and how a worker's come to the process that is scraped.
pub mod metrics;

// The HTTP interface.
pub mod api;

// The pages for people.
pub mod dashboard;

// Accepts connections and speaks HTTP on them, within bounds.
pub mod listener;

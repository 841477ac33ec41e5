//! Types and rules of the service; no I/O.

// API keys, roles and tenants.
pub mod access;

// How many workers there are, and what each may ask of the database.
pub mod fleet;

// How entries of a queue are held and tried again.
pub mod leases;

// Types and transitions of a transfer.
pub mod transfers;

// Base models, fine-tunes and retunes.
pub mod registry;

// Events, and how endpoints are told of them.
pub mod events;

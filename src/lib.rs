//! `retune` carries the tuning of one neural network over to a new base model.
//!
//! Modules in reading order; `ARCHITECTURE.md` has the map and the rules between them.

// Words that cross a wall: the job specification, report, plan, manifest, ids, codes.
pub mod contract;

// The numerics: networks as data, their permutation symmetry, learning, transfer.
pub use retune_engine as engine;

// Locations in object storage: allowed roots, streaming, digests.
pub mod storage;

// What lies at those locations: models, trajectories, datasets, results.
pub mod artifacts;

// The phases of one transfer, from locations to a published result.
pub mod pipeline;

// The networked service: queue, workers, HTTP, dashboard.
pub mod service;

// The command line.
pub mod cli;

// Settings: file, environment, command line.
pub mod config;

// Logs.
pub mod telemetry;

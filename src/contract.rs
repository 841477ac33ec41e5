//! Words that cross a wall: what is submitted, what is answered, what lies beside a result.
//!
//! Types with their JSON form and its description, and the checks that need nothing else. No logic, no
//! tensor, no database: everyone may import this module, and it imports nobody.

// The job specification, one type for every way in.
pub mod spec;

// Where a transfer is, and how it ends.
pub mod outcome;

// What a transfer tells of itself.
pub mod report;

// What a plan answers.
pub mod plan;

// What a result consists of, and what its files are called.
pub mod manifest;

// The codes of a job's failures.
pub mod codes;

// Kinds of events and audited actions.
pub mod evaluation;
pub mod events;

// Ids of rows, one type each.
pub mod ids;

// Which device computes.
pub mod device;

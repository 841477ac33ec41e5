//! Words that cross a wall between modules: types with their text and JSON forms, no logic but checks.

// Kinds of events and audited actions.
pub mod events;

// Ids of rows, one type each.
pub mod ids;

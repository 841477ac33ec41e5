//! The kind of an event as its row has it.
//!
//! A row outlives the program that wrote it. One of another version is shown, told and delivered under its own
//! text, whatever this version makes of it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::contract::events::EventKind;

/// A kind that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedKind {
    Known(EventKind),
    /// Written by another version of this program.
    Unknown(String),
}

impl RecordedKind {
    /// The kind, where this version knows it.
    pub fn known(&self) -> Option<EventKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Unknown(_) => None,
        }
    }

    /// As it is written in JSON and in the database.
    pub fn text(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Unknown(text) => text,
        }
    }
}

/// From the column of a row.
impl From<String> for RecordedKind {
    fn from(text: String) -> Self {
        EventKind::of(&text).map_or(Self::Unknown(text), Self::Known)
    }
}

impl From<EventKind> for RecordedKind {
    fn from(kind: EventKind) -> Self {
        Self::Known(kind)
    }
}

impl fmt::Display for RecordedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for RecordedKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_read_keeps_its_text() {
        let known = RecordedKind::from("gate.passed".to_owned());
        assert_eq!(known, EventKind::GatePassed.into());
        assert_eq!(serde_json::to_value(&known).unwrap(), "gate.passed");

        let unknown = RecordedKind::from("transfer.paused".to_owned());
        assert_eq!(unknown.known(), None);
        assert_eq!(serde_json::to_value(&unknown).unwrap(), "transfer.paused");
        assert_eq!(unknown.to_string(), "transfer.paused");
    }
}

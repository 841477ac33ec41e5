//! Enum values as their database labels, which are their JSON strings.
//!
//! The types of `pipeline` know nothing of SQL; their names cross as text and are cast there.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The label of a unit variant.
pub(super) fn label<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The value of a label; an unknown one is a schema newer than this program.
pub(super) fn value<T: DeserializeOwned>(label: Option<String>) -> Result<Option<T>, sqlx::Error> {
    label
        .map(|name| serde_json::from_value(Value::String(name)))
        .transpose()
        .map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Phase, Recommendation};

    #[test]
    fn labels_are_the_json_strings_and_come_back() {
        assert_eq!(label(&Phase::FineTuning), "fine_tuning");
        assert_eq!(
            label(&Recommendation::TransferAndFineTune),
            "transfer+fine_tune"
        );
        assert_eq!(
            value(Some("publishing".into())).unwrap(),
            Some(Phase::Publishing)
        );
        assert_eq!(value::<Phase>(None).unwrap(), None);
        assert!(value::<Phase>(Some("sleeping".into())).is_err());
    }
}

//! The words that stand in place of a list or a number.

/// The literal string `"auto"`.
pub mod auto {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("auto")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(()),
            other => Err(D::Error::custom(format!(
                "\"auto\" or a list of methods, not {other:?}"
            ))),
        }
    }
}

/// The literal string `"by_group"`.
pub mod by_group {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("by_group")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "by_group" => Ok(()),
            other => Err(D::Error::custom(format!("\"by_group\", not {other:?}"))),
        }
    }
}

/// The literal string `"search"`.
pub mod search {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("search")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "search" => Ok(()),
            other => Err(D::Error::custom(format!(
                "\"search\" or a number, not {other:?}"
            ))),
        }
    }
}

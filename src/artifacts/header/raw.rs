//! The JSON of a header, before anything in it is believed.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::TENSOR_LIMIT;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEntry {
    pub dtype: String,
    pub shape: Vec<u64>,
    pub data_offsets: [u64; 2],
}

/// The header's JSON. Maps in general let a name come twice; here that is refused, because two
/// readers could then see two models.
pub(super) struct RawHeader {
    pub tensors: BTreeMap<String, RawEntry>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        use serde::de::Error;
        let mut tensors = BTreeMap::new();
        let mut metadata = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if metadata
                    .replace(map.next_value::<BTreeMap<String, String>>()?)
                    .is_some()
                {
                    return Err(A::Error::custom("__metadata__ appears twice"));
                }
                continue;
            }
            if tensors.len() == TENSOR_LIMIT {
                return Err(A::Error::custom(format!(
                    "more than {TENSOR_LIMIT} tensors"
                )));
            }
            let entry = map.next_value()?;
            if tensors.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "the tensor {name:?} appears twice"
                )));
            }
            tensors.insert(name, entry);
        }

        Ok(RawHeader { tensors })
    }
}

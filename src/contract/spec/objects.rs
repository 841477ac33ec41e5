//! Reads JSON in which a structure is an object with its fields by name.
//!
//! serde also reads a structure from an array, by the order of its fields in the source: a body that no
//! schema allows, and whose meaning would change with that order.

use serde::{
    Deserializer,
    de::{
        Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Value};

/// A value to be read so, at any depth.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a>(pub &'a Value);

impl<'de> IntoDeserializer<'de, Error> for Objects<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Objects<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(Self));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), Self(value)));
                let mut fields = MapDeserializer::new(fields);
                let value = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(value)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &"an object")),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        a: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        inner: Inner,
        #[serde(default)]
        other: Option<Vec<Inner>>,
        #[serde(default)]
        share: f64,
    }

    fn read(value: &Value) -> Result<Outer, Error> {
        Outer::deserialize(Objects(value))
    }

    #[test]
    fn a_structure_is_no_array_at_any_depth() {
        let whole = json!({"inner": {"a": 1}, "other": [{"a": 2}], "share": 3});
        let wanted = Outer {
            inner: Inner { a: 1 },
            other: Some(vec![Inner { a: 2 }]),
            share: 3.0,
        };
        assert_eq!(read(&whole).unwrap(), wanted);
        assert_eq!(
            read(&json!({"inner": {"a": 1}, "other": null}))
                .unwrap()
                .other,
            None
        );
        for array in [
            json!([{"a": 1}]),
            json!({"inner": [1]}),
            json!({"inner": {"a": 1}, "other": [[2]]}),
        ] {
            let error = read(&array).unwrap_err().to_string();
            assert_eq!(
                error, "invalid type: sequence, expected an object",
                "{array}"
            );
        }
        assert!(read(&json!({"inner": {"a": 300}})).is_err());
    }
}

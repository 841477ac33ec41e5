//! How the three choices "a word or a value" are documented; their derive would call the word null.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, SchemaType, Type},
    },
};

use super::{Alpha, LearningRate, Method, Methods};

fn word(word: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some([word]))
}

impl PartialSchema for Methods {
    fn schema() -> RefOr<Schema> {
        let named = ArrayBuilder::new()
            .items(RefOr::Ref(Ref::from_schema_name(
                <Method as ToSchema>::name(),
            )))
            .min_items(Some(1))
            .unique_items(true);
        OneOfBuilder::new()
            .description(Some("`\"auto\"` or a list of methods."))
            .item(word("auto"))
            .item(named)
            .into()
    }
}

impl ToSchema for Methods {
    fn name() -> Cow<'static, str> {
        "Methods".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((<Method as ToSchema>::name().into_owned(), Method::schema()));
    }
}

impl PartialSchema for Alpha {
    fn schema() -> RefOr<Schema> {
        let fixed = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Number))
            .minimum(Some(-100.0))
            .maximum(Some(100.0));
        OneOfBuilder::new()
            .description(Some(
                "Length of the step along the transported task vector.",
            ))
            .item(word("search"))
            .item(word("by_group"))
            .item(fixed)
            .into()
    }
}

impl ToSchema for Alpha {
    fn name() -> Cow<'static, str> {
        "Alpha".into()
    }
}

impl PartialSchema for LearningRate {
    fn schema() -> RefOr<Schema> {
        let fixed = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Number))
            .exclusive_minimum(Some(0.0));
        OneOfBuilder::new()
            .description(Some(
                "The rate at the first step after the warm-up, or `\"auto\"`: three short trials around the \
                 optimiser's usual one.",
            ))
            .item(word("auto"))
            .item(fixed)
            .into()
    }
}

impl ToSchema for LearningRate {
    fn name() -> Cow<'static, str> {
        "LearningRate".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_documented_as_they_are_read() {
        let methods = serde_json::to_value(Methods::schema()).unwrap();
        assert_eq!(methods["oneOf"][0]["enum"], serde_json::json!(["auto"]));
        assert_eq!(methods["oneOf"][1]["type"], "array");
        let alpha = serde_json::to_value(Alpha::schema()).unwrap();
        assert_eq!(alpha["oneOf"][0]["enum"], serde_json::json!(["search"]));
        assert_eq!(alpha["oneOf"][1]["enum"], serde_json::json!(["by_group"]));
        assert_eq!(alpha["oneOf"][2]["type"], "number");
        let rate = serde_json::to_value(LearningRate::schema()).unwrap();
        assert_eq!(rate["oneOf"][0]["enum"], serde_json::json!(["auto"]));
        assert_eq!(rate["oneOf"][1]["type"], "number");
    }
}

//! The report, from the schema that the OpenAPI document has of it.

use retune::service::api;
use serde_json::Value;

use super::{head, line};

pub fn page() -> String {
    let document = serde_json::to_value(api::openapi()).expect("a document");
    let schemas = &document["components"]["schemas"];
    let mut page = head(
        "Report",
        "the types of `src/contract/report.rs`, as OpenAPI has them,",
    );
    page.push_str("A field of a type \"… or null\" is null where nothing was measured.\n\n");

    // Each type once, in the order in which they are named.
    let mut names = vec!["Report".to_owned()];
    let mut done = 0;
    while let Some(name) = names.get(done).cloned() {
        let schema = &schemas[&name];
        page.push_str(&section(&name, schema));
        for other in named_in(schema) {
            if !names.contains(&other) {
                names.push(other);
            }
        }
        done += 1;
    }

    page.push_str(PREDICTIONS);

    page.trim_end().to_owned() + "\n"
}

/// The table that lies beside the report.
const PREDICTIONS: &str = "\
## predictions.parquet

Beside the report, where there are data: a row for each sample that judged, in their order. Of a language model a row is a
sequence, and only counts are kept.

| column | type | meaning |
|---|---|---|
| `sample` | int64 | Its position in the split. |
| `counted` | int64 | Predictions of it that count. Absent of a regression. |
| `agrees` | int64 | Predictions of the result that are the old tuned model's. Absent of a regression. |
| `result`, `old_tuned`, `new_base` | int64, or float of a regression | What the three models tell, where a sample has one label: a class, or a value. |
| `result_right`, `old_tuned_right`, `new_base_right` | int64 | Right predictions of it. Absent of a regression, and without labels. |
| `label` | int64, or float of a regression | Absent without labels. |

A regression of several values has columns by number: `result_0`, `result_1` … A value that is no finite number is null.
";

/// One type: what it is for, its fields or its values.
fn section(name: &str, schema: &Value) -> String {
    let mut text = format!("## {name}\n\n");
    for paragraph in description(schema)
        .split("\n\n")
        .filter(|part| !part.is_empty())
    {
        text.push_str(&format!("{}\n\n", line(paragraph)));
    }
    if schema["enum"].is_array() {
        text.push_str(&format!("One of {}.\n\n", form(schema)));
        return text;
    }

    let alone = [schema.clone()];
    let parts = schema["allOf"].as_array().map_or(&alone[..], Vec::as_slice);
    for part in parts.iter().filter(|part| !part["properties"].is_object()) {
        let base = form(part).replace(" or null", "");
        text.push_str(&format!("It has the fields of {base}, too.\n\n"));
    }
    text.push_str("| field | type | meaning |\n|---|---|---|\n");
    for part in parts {
        for (field, schema) in part["properties"].as_object().into_iter().flatten() {
            let meaning = line(&description(schema));
            text.push_str(&format!("| `{field}` | {} | {meaning} |\n", form(schema)));
        }
        let others = &part["additionalProperties"];
        if others.is_object() {
            let meaning = line(&description(others));
            text.push_str(&format!("| any other | {} | {meaning} |\n", form(others)));
        }
    }
    text + "\n"
}

/// What is said of a schema, or of the one thing that it may be beside null.
fn description(schema: &Value) -> String {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let said = std::iter::once(schema)
        .chain(choices)
        .find_map(|one| one["description"].as_str());
    said.unwrap_or_default().to_owned()
}

/// The type of a value, in words.
fn form(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[`{name}`](#{})", name.to_lowercase());
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"));
        return values.collect::<Vec<_>>().join(", ");
    }
    for choices in [&schema["oneOf"], &schema["anyOf"]] {
        if let Some(choices) = choices.as_array() {
            return choices.iter().map(form).collect::<Vec<_>>().join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(name) => form_of(name, schema),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names
                .map(|name| form_of(name, schema))
                .collect::<Vec<_>>()
                .join(" or ")
        }
        _ => "any value".to_owned(),
    }
}

fn form_of(name: &str, schema: &Value) -> String {
    match name {
        "array" => format!("list of {}", form(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object of {}", form(&schema["additionalProperties"]))
        }
        _ => name.to_owned(),
    }
}

/// The other types that a schema names.
fn named_in(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value.as_str() {
                Some(reference) if key == "$ref" => reference
                    .rsplit('/')
                    .next()
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
                _ => named_in(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(named_in).collect(),
        _ => Vec::new(),
    }
}

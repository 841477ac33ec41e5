//! What the commands of the registry share: which service, which page, how an answer is shown.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    client::{Client, Connection},
    table::left,
};

/// Which service, as whom, and how to print.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// Print the service's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Which rows of a list.
#[derive(Debug, clap::Args)]
pub struct Window {
    /// At most so many.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// The `next` of the page before.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl Window {
    /// As a query, with those of the conditions that are given.
    pub fn query(
        self,
        conditions: &[(&'static str, Option<String>)],
    ) -> Vec<(&'static str, String)> {
        let given = conditions
            .iter()
            .filter_map(|(name, value)| Some((*name, value.clone()?)));
        let mut query: Vec<_> = given.collect();
        query.push(("limit", self.limit.to_string()));
        query.extend(self.after.map(|after| ("after", after)));
        query
    }
}

/// Heads of columns, and where in a row each is found.
pub type Columns<'a> = &'a [(&'a str, &'a str)];

impl Remote {
    /// # Errors
    /// As [`Client::open`].
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::open(self.connection.clone())
    }

    /// Whether the answer is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Prints what was done: the document, or a line for people.
    ///
    /// # Errors
    /// When the answer cannot be written.
    pub fn show_line(&self, document: &Value, line: &str) -> anyhow::Result<ExitCode> {
        if self.json {
            return print(document);
        }
        outln!("{line}");
        Ok(ExitCode::SUCCESS)
    }

    /// Prints a page, one row a line.
    ///
    /// # Errors
    /// When the answer cannot be written.
    pub fn show_page(&self, page: &Value, columns: Columns<'_>) -> anyhow::Result<ExitCode> {
        if self.json {
            return print(page);
        }
        let mut rows = vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect()];
        let data = page["data"].as_array().into_iter().flatten();
        rows.extend(data.map(|row| columns.iter().map(|(_, at)| cell(row, at)).collect()));
        out!("{}", left(&rows));
        if let Some(next) = page["next"].as_str() {
            tellln!("more: the same with --after {next}");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints one thing, one field a line.
    ///
    /// # Errors
    /// When the answer cannot be written.
    pub fn show(&self, thing: &Value) -> anyhow::Result<ExitCode> {
        if self.json {
            return print(thing);
        }
        let fields = thing.as_object().into_iter().flatten();
        let rows: Vec<_> = fields
            .map(|(name, _)| vec![name.clone(), cell(thing, &format!("/{name}"))])
            .collect();
        out!("{}", left(&rows));
        Ok(ExitCode::SUCCESS)
    }
}

fn print(document: &Value) -> anyhow::Result<ExitCode> {
    outln!("{}", serde_json::to_string_pretty(document)?);
    Ok(ExitCode::SUCCESS)
}

/// A field for people: text as it is, a time to the second, `-` for what is absent.
pub fn cell(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if pointer.ends_with("_at") => match text.split_once('.') {
            Some((seconds, _)) => format!("{seconds}Z"),
            None => text.clone(),
        },
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_for_people() {
        let row = json!({"name": "llama", "created_at": "2026-01-01T00:00:00.123Z", "none": null,
            "counts": {"failed": 2}});
        assert_eq!(cell(&row, "/name"), "llama");
        assert_eq!(cell(&row, "/created_at"), "2026-01-01T00:00:00Z");
        assert_eq!(
            (cell(&row, "/none"), cell(&row, "/gone")),
            ("-".into(), "-".into())
        );
        assert_eq!(
            (cell(&row, "/counts/failed"), cell(&row, "/counts")),
            ("2".into(), r#"{"failed":2}"#.into())
        );
    }

    #[test]
    fn a_window_names_what_is_given() {
        let window = Window {
            limit: 2,
            after: Some("x".into()),
        };
        let query = window.query(&[("status", Some("failed".into())), ("base_model", None)]);
        let wanted = [("status", "failed"), ("limit", "2"), ("after", "x")];
        assert_eq!(query, wanted.map(|(name, value)| (name, value.to_owned())));
    }
}

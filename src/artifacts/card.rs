//! The model card of a result: what it was made of, how, and how good it is.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{
    contract::{manifest::files, report::Metrics},
    storage::Blocking,
};

use super::{InputFile, error::ArtifactError, model::ModelFolder, result::OutputFile};

const README_LIMIT: u64 = 1 << 20;

/// What a model card tells.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// Of the job, if it has one.
    pub name: Option<String>,
    /// Locations as the specification gives them.
    pub source_base: String,
    pub trajectory: String,
    pub target_base: String,
    /// The method of the winner, or none where nothing is published.
    pub method: Option<String>,
    /// Licence identifier of the target base, if it states one.
    pub licence: Option<String>,
    /// The figures that stand for the result.
    pub metrics: Metrics,
    pub warnings: Vec<String>,
    pub inputs: Vec<InputFile>,
}

/// The licence that a model folder's own card names in its front matter (`license: mit`).
///
/// # Errors
/// What keeps the store from answering.
pub fn licence_of(
    storage: Blocking<'_>,
    folder: &ModelFolder,
) -> Result<Option<String>, ArtifactError> {
    let place = folder.location.child(files::MODEL_CARD)?;
    if !storage.exists(&place)? {
        return Ok(None);
    }
    let text = storage.read_small(&place, README_LIMIT)?;
    Ok(licence_in(&String::from_utf8_lossy(&text)))
}

/// The licence that a card names in its front matter.
pub fn licence_in(readme: &str) -> Option<String> {
    let front_matter = readme.strip_prefix("---\n")?.split("\n---").next()?;
    let value = front_matter
        .lines()
        .find_map(|line| line.strip_prefix("license:"))?;
    let value = value.trim().trim_matches(['"', '\'']);
    is_plain(value).then(|| value.to_owned())
}

/// `organisation/name` of a model on a hub, which alone may stand as `base_model` in front matter.
fn hub_name(uri: &str) -> Option<String> {
    let (organisation, rest) = uri.strip_prefix("hf://")?.split_once('/')?;
    let name = rest.split(['/', '@']).next().unwrap_or_default();
    let is_model = organisation != "datasets" && is_plain(organisation) && is_plain(name);
    is_model.then(|| format!("{organisation}/{name}"))
}

/// Whether a word stands in front matter as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(
            |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'+' | b'_'),
        )
}

impl Card {
    /// The card as Markdown, in the form that model hubs read.
    pub(super) fn render(&self, outputs: &[OutputFile]) -> String {
        let mut text = String::new();
        self.write(&mut text, outputs)
            .expect("writing to memory does not fail");
        text
    }

    fn write(&self, text: &mut String, outputs: &[OutputFile]) -> std::fmt::Result {
        self.write_front_matter(text)?;
        self.write_title(text)?;
        self.write_origin(text)?;
        self.write_metrics(text)?;
        if !self.warnings.is_empty() {
            writeln!(text, "\n## Warnings\n")?;
            for warning in &self.warnings {
                writeln!(text, "- {}", cell(warning))?;
            }
        }

        writeln!(
            text,
            "\n## Files\n\n| File | Bytes | SHA-256 |\n|---|---|---|"
        )?;
        for OutputFile { name, size, sha256 } in outputs {
            writeln!(text, "| {} | {size} | `{sha256}` |", cell(name))?;
        }

        writeln!(
            text,
            "\n## Inputs\n\n| File | Bytes | SHA-256 |\n|---|---|---|"
        )?;
        for InputFile { uri, size, sha256 } in &self.inputs {
            writeln!(text, "| {} | {size} | `{sha256}` |", cell(uri))?;
        }

        Ok(())
    }

    /// As hubs read it.
    fn write_front_matter(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "---")?;
        if let Some(licence) = &self.licence {
            writeln!(text, "license: {licence}")?;
        }
        if let Some(base) = hub_name(&self.target_base).filter(|_| self.method.is_some()) {
            writeln!(text, "base_model: {base}\nbase_model_relation: finetune")?;
        }

        writeln!(
            text,
            "library_name: retune\ntags:\n- retune\n- learning-transfer\n---\n"
        )
    }

    fn write_title(&self, text: &mut String) -> std::fmt::Result {
        match &self.method {
            Some(method) => writeln!(
                text,
                "# A tuned model, carried over to a new base\n\n\
                 The tuning of an older model was transferred onto the new base by `{method}`.\n"
            ),
            None => writeln!(
                text,
                "# A rejected transfer\n\nNo model is published; see report.json.\n"
            ),
        }
    }

    /// The models that it was made of, under which licence and by which program.
    fn write_origin(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "| | |\n|---|---|")?;
        if let Some(name) = &self.name {
            writeln!(text, "| Job | {} |", cell(name))?;
        }

        for (name, value) in [
            ("Base", &self.target_base),
            ("Source base", &self.source_base),
            ("Source tuning", &self.trajectory),
        ] {
            writeln!(text, "| {name} | {} |", cell(value))?;
        }

        let licence = self
            .licence
            .as_deref()
            .unwrap_or("as the base's; it states none in its card");
        writeln!(text, "| Licence | {licence} |")?;

        writeln!(text, "| Software | retune {} |", env!("CARGO_PKG_VERSION"))
    }

    fn write_metrics(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n## Metrics\n\n| | |\n|---|---|")?;
        // Figures are written as the report has them.
        let metrics = json!(self.metrics);
        for (name, value) in metrics.as_object().into_iter().flatten() {
            match value {
                Value::String(value) => writeln!(text, "| {} | {} |", cell(name), cell(value))?,
                Value::Number(value) => writeln!(text, "| {} | {value} |", cell(name))?,
                Value::Bool(value) => writeln!(text, "| {} | {value} |", cell(name))?,
                Value::Null | Value::Array(_) | Value::Object(_) => {}
            }
        }

        Ok(())
    }
}

/// A user's text inside a table: no line break, no new column, no markup.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '`' | '<' | '>' | '[' | ']' | '*' | '_' | '\\' => {
                cell.push('\\');
                cell.push(c);
            }
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }

    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::report::Measured;

    #[test]
    fn a_licence_is_read_from_front_matter_only() {
        assert_eq!(
            licence_in("---\nlicense: apache-2.0\n---\n# M"),
            Some("apache-2.0".into())
        );
        assert_eq!(licence_in("# M\nlicense: mit"), None);
        assert_eq!(licence_in("---\nlicense: a b|c\n---\n"), None);
    }

    #[test]
    fn only_a_model_of_a_hub_is_named_in_the_front_matter() {
        let of = |target_base: &str, method: Option<&str>| {
            let (target_base, method) = (target_base.to_owned(), method.map(str::to_owned));
            Card {
                target_base,
                method,
                ..Card::default()
            }
            .render(&[])
        };
        let text = of("hf://org/new-base@v2/", Some("identity"));
        let expected = "---\nbase_model: org/new-base\nbase_model_relation: finetune\nlibrary_name";
        assert!(text.starts_with(expected), "{text}");
        assert!(of("hf://org/new-base", Some("identity")).contains("base_model: org/new-base\n"));
        for other in [
            "s3://org/new-base/",
            "hf://datasets/org/data/",
            "hf://org/a: b/",
        ] {
            assert!(
                !of(other, Some("identity")).contains("base_model"),
                "{other}"
            );
        }

        assert!(
            !of("hf://org/new-base/", None).contains("base_model"),
            "nothing is published"
        );
    }

    #[test]
    fn a_card_names_base_method_metrics_and_digests() {
        let measured = Measured {
            split: "test".into(),
            accuracy: Some(0.5),
            loss: Some(1.0),
            r2: None,
            agreement: None,
            divergence: None,
            target_agreement_before: None,
            recovery: None,
            source_accuracy: None,
            source_r2: None,
            target_accuracy_before: None,
            target_r2_before: None,
        };
        let card = Card {
            target_base: "s3://b/new".into(),
            method: Some("fgmt".into()),
            licence: Some("mit".into()),
            metrics: Metrics {
                measured: Some(measured),
                ..Metrics::default()
            },
            warnings: vec!["a | b\nc".into()],
            ..Card::default()
        };
        let output = OutputFile {
            name: "model.safetensors".into(),
            size: 3,
            sha256: "ab".repeat(32),
        };
        let text = card.render(&[output]);
        for part in [
            "---\nlicense: mit\n",
            "`fgmt`",
            "| Base | s3://b/new |",
            "| accuracy | 0.5 |\n",
            "| loss | 1.0 |\n",
            "- a \\| b c\n",
            "| model.safetensors | 3 | `abab",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }

        assert!(!text.contains("recovery"), "nothing was measured");
    }
}

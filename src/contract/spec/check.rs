//! Faults of a specification, each with the JSON pointer of the field and what to do about it.

use crate::contract::codes::FailureCode;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Alpha, FineTune, LearningRate, Method, Methods, Spec, objects::Objects};

/// One fault: where (RFC 6901 pointer) and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    pub pointer: String,
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// Why a specification is refused. `code` is stable: `invalid_spec`, or `not_implemented` for what
/// only the service does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    pub code: FailureCode,
    pub faults: Vec<Fault>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", fault.pointer, fault.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecError {}

/// Longest accepted location, metadata key or value, in bytes.
const TEXT_LIMIT: usize = 2048;
const METADATA_LIMIT: usize = 64;
/// Longest wait for an external gate: a year.
const HOURS_LIMIT: f64 = 8760.0;
/// Longest name of a job or of an external gate, in characters.
const NAME_LIMIT: usize = 80;
/// More than there are: each is named once.
const METHODS_LIMIT: usize = 16;
/// Longest accepted list of means or standard deviations.
const CHANNELS_LIMIT: usize = 16_384;

impl Spec {
    /// Reads and checks a specification.
    ///
    /// # Errors
    /// Every fault found, with its pointer. Unknown fields are faults.
    pub fn from_json(value: &Value) -> Result<Self, SpecError> {
        let spec: Self =
            serde_path_to_error::deserialize(Objects(value)).map_err(|error| SpecError {
                code: FailureCode::InvalidSpec,
                faults: vec![Fault::new(
                    pointer_of(error.path()),
                    error.inner().to_string(),
                )],
            })?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks ranges and combinations.
    ///
    /// # Errors
    /// As [`Spec::from_json`].
    pub fn check(&self) -> Result<(), SpecError> {
        let mut faults = Vec::new();
        self.check_methods(&mut faults);
        self.check_numbers(&mut faults);
        self.check_text(&mut faults);
        self.check_gate(&mut faults);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(SpecError {
                code: FailureCode::InvalidSpec,
                faults,
            })
        }
    }

    fn has_train(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.train.is_some())
    }

    fn has_data(&self) -> bool {
        self.data.as_ref().is_some_and(|data| {
            data.train.is_some() || data.validation.is_some() || data.test.is_some()
        })
    }

    /// What a run without the service would have to ignore is refused there.
    ///
    /// # Errors
    /// `not_implemented`, naming the field.
    pub fn check_local(&self) -> Result<(), SpecError> {
        let mut faults = Vec::new();
        if self.callback.is_some() {
            let detail = "only the service calls back; submit the job, or leave this out";
            faults.push(Fault::new("/callback", detail));
        }
        if self
            .gate
            .as_ref()
            .is_some_and(|gate| gate.external.is_some())
        {
            let detail =
                "only the service waits for an evaluation; submit the job, or leave this out";
            faults.push(Fault::new("/gate/external", detail));
        }
        let code = FailureCode::NotImplemented;
        if faults.is_empty() {
            Ok(())
        } else {
            Err(SpecError { code, faults })
        }
    }

    fn check_methods(&self, faults: &mut Vec<Fault>) {
        let Methods::Named(methods) = &self.methods else {
            return;
        };
        if methods.is_empty() {
            faults.push(Fault::new(
                "/methods",
                "name at least one method, or say \"auto\"",
            ));
        }

        if methods.len() > METHODS_LIMIT {
            faults.push(Fault::new(
                "/methods",
                format!("at most {METHODS_LIMIT} methods"),
            ));
        }

        for (i, method) in methods.iter().take(METHODS_LIMIT).enumerate() {
            if methods[..i].contains(method) {
                faults.push(Fault::new(
                    format!("/methods/{i}"),
                    "this method is named twice",
                ));
            }
            if method.needs_data() && !self.has_train() {
                faults.push(Fault::new(
                    format!("/methods/{i}"),
                    format!(
                        "{} needs {}: give data.train",
                        method.name(),
                        method.needs()
                    ),
                ));
            }
        }

        let on = self.options.gradfix_on;
        if methods.contains(&Method::Gradfix) && matches!(on, Method::Gradfix | Method::Oracle) {
            let detail = format!("gradfix masks another method's update, not {}", on.name());
            faults.push(Fault::new("/options/gradfix_on", detail));
        }
    }

    fn check_numbers(&self, faults: &mut Vec<Fault>) {
        let options = &self.options;
        within(faults, "/options/timesteps", options.timesteps, 1, 1000);
        within(
            faults,
            "/options/batch_size",
            options.batch_size,
            1,
            1 << 20,
        );
        if let Some(update) = &options.update {
            within(faults, "/options/update/rank", update.rank, 1, 4096);
        }

        if options.alpha == Alpha::ByGroup && !self.has_train() {
            let detail = "an α for each group is found on training samples: give data.train";
            faults.push(Fault::new("/options/alpha", detail));
        }

        if let Alpha::Fixed(alpha) = options.alpha
            && !(alpha.is_finite() && alpha.abs() <= 100.0)
        {
            faults.push(Fault::new(
                "/options/alpha",
                "a number of magnitude at most 100",
            ));
        }

        if !(0.0..=1000.0).contains(&options.weight_anchor) {
            faults.push(Fault::new(
                "/options/weight_anchor",
                "must lie between 0 and 1000",
            ));
        }

        let selection = &options.selection;
        within(
            faults,
            "/options/selection/samples",
            selection.samples,
            1,
            1 << 20,
        );
        if !(selection.confidence > 0.5 && selection.confidence < 1.0) {
            let detail = "must lie between 0.5 and 1, both excluded";
            faults.push(Fault::new("/options/selection/confidence", detail));
        }
        if !(0.0..=1.0).contains(&selection.margin) {
            let detail = "is a share of right answers: must lie between 0 and 1";
            faults.push(Fault::new("/options/selection/margin", detail));
        }

        if let Some(fine_tune) = &self.fine_tune {
            check_training(fine_tune, faults);
            if !self.has_train() {
                faults.push(Fault::new("/fine_tune", "fine-tuning needs data.train"));
            }
        }

        if let Some(preprocess) = self.data.as_ref().and_then(|data| data.preprocess.as_ref()) {
            if preprocess.mean.len().max(preprocess.std.len()) > CHANNELS_LIMIT {
                let detail = format!("at most {CHANNELS_LIMIT} channels");
                faults.push(Fault::new("/data/preprocess", detail));
            }
            if preprocess.mean.len() != preprocess.std.len() {
                faults.push(Fault::new(
                    "/data/preprocess",
                    "mean and std differ in length",
                ));
            }
            if preprocess.mean.iter().any(|m| !m.is_finite()) {
                faults.push(Fault::new("/data/preprocess/mean", "must be finite"));
            }
            if preprocess.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
                faults.push(Fault::new("/data/preprocess/std", "must be above zero"));
            }
        }
    }

    /// NUL cannot be stored in jsonb, and nothing here has a use for control characters.
    fn check_text(&self, faults: &mut Vec<Fault>) {
        let data = self.data.as_ref();
        let mut texts: Vec<(String, &str)> = vec![
            ("/source/base".into(), &self.source.base),
            ("/source/trajectory".into(), &self.source.trajectory),
            ("/target/base".into(), &self.target.base),
            ("/output".into(), &self.output),
        ];
        for (name, uri) in [
            ("train", data.and_then(|d| d.train.as_deref())),
            ("validation", data.and_then(|d| d.validation.as_deref())),
            ("test", data.and_then(|d| d.test.as_deref())),
        ] {
            texts.extend(uri.map(|uri| (format!("/data/{name}"), uri)));
        }

        texts.extend(self.name.iter().map(|name| ("/name".into(), name.as_str())));
        if self
            .name
            .as_ref()
            .is_some_and(|name| name.chars().count() > NAME_LIMIT)
        {
            faults.push(Fault::new(
                "/name",
                format!("at most {NAME_LIMIT} characters"),
            ));
        }

        texts.extend(
            self.callback
                .iter()
                .map(|to| ("/callback/url".into(), to.url.as_str())),
        );
        for (key, value) in self.metadata.iter().take(METADATA_LIMIT) {
            let pointer = format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"));
            texts.push((pointer.clone(), key));
            texts.push((pointer, value));
        }

        if self.metadata.len() > METADATA_LIMIT {
            faults.push(Fault::new(
                "/metadata",
                format!("at most {METADATA_LIMIT} entries"),
            ));
        }

        for (pointer, text) in texts {
            if text.len() > TEXT_LIMIT {
                faults.push(Fault::new(
                    pointer,
                    format!("longer than {TEXT_LIMIT} bytes"),
                ));
            } else if text.chars().any(char::is_control) {
                faults.push(Fault::new(pointer, "contains a control character"));
            } else if text.is_empty() && !pointer.starts_with("/metadata") {
                faults.push(Fault::new(pointer, "must not be empty"));
            }
        }
    }

    fn check_gate(&self, faults: &mut Vec<Fault>) {
        let Some(gate) = &self.gate else { return };
        let bounds = [
            ("min", gate.min),
            ("max_drop_from_source", gate.max_drop_from_source),
            ("max_negative_flips", gate.max_negative_flips),
        ];
        let is_bounded = bounds.iter().any(|(_, bound)| bound.is_some());
        if let Some(external) = &gate.external {
            check_gate_name("/gate/external/name", &external.name, faults);
            if !(external.deadline_hours > 0.0 && external.deadline_hours <= HOURS_LIMIT) {
                let detail = format!("must lie above 0 and be at most {HOURS_LIMIT} hours");
                faults.push(Fault::new("/gate/external/deadline_hours", detail));
            }
        }
        if !is_bounded && gate.external.is_none() {
            let names = "min, max_drop_from_source, max_negative_flips or external";
            faults.push(Fault::new("/gate", format!("give at least one of {names}")));
        }
        if !self.has_data() && (is_bounded || gate.external.is_none()) {
            faults.push(Fault::new(
                "/gate",
                "a gate needs data to judge by: give data.test",
            ));
        }

        for (name, bound) in bounds {
            if bound.is_some_and(|b| !(0.0..=1.0).contains(&b)) {
                faults.push(Fault::new(
                    format!("/gate/{name}"),
                    "must lie between 0 and 1",
                ));
            }
        }
    }
}

/// Checks the name of an external gate.
pub fn check_gate_name(pointer: &str, name: &str, faults: &mut Vec<Fault>) {
    let length = name.chars().count();
    if !(1..=NAME_LIMIT).contains(&length) || name.chars().any(char::is_control) {
        faults.push(Fault::new(
            pointer,
            format!("1 to {NAME_LIMIT} characters, none of control"),
        ));
    }
}

/// The numbers of the stage after a transfer.
fn check_training(stage: &FineTune, faults: &mut Vec<Fault>) {
    within(faults, "/fine_tune/epochs", stage.epochs, 1, 10_000);
    within(
        faults,
        "/fine_tune/batch_size",
        stage.batch_size,
        1,
        1 << 20,
    );
    let counts = [
        ("looks_per_epoch", stage.looks_per_epoch, 1000),
        ("patience", stage.patience, 100_000),
        ("lora_rank", stage.lora_rank, 4096),
    ];
    for (name, value, most) in counts {
        let Some(value) = value else { continue };
        within(faults, &format!("/fine_tune/{name}"), value, 1, most);
    }

    let rate = match stage.learning_rate {
        LearningRate::Fixed(rate) => Some(rate),
        LearningRate::Auto => None,
    };
    for (name, value) in [("learning_rate", rate), ("clip", stage.clip)] {
        if value.is_some_and(|value| !(value.is_finite() && value > 0.0)) {
            faults.push(Fault::new(
                format!("/fine_tune/{name}"),
                "must be above zero",
            ));
        }
    }
    if stage.stop_at.is_some_and(|at| !(0.0..=1.0).contains(&at)) {
        let detail = "is an accuracy: must lie between 0 and 1";
        faults.push(Fault::new("/fine_tune/stop_at", detail));
    }
    if stage
        .warmup
        .is_some_and(|share| !(0.0..1.0).contains(&share))
    {
        let detail = "is a share of the steps: must be at least 0 and below 1";
        faults.push(Fault::new("/fine_tune/warmup", detail));
    }
    if stage
        .pull
        .is_some_and(|pull| !(0.0..=1000.0).contains(&pull))
    {
        faults.push(Fault::new("/fine_tune/pull", "must lie between 0 and 1000"));
    }
}

fn within(faults: &mut Vec<Fault>, pointer: &str, value: usize, low: usize, high: usize) {
    if !(low..=high).contains(&value) {
        faults.push(Fault::new(
            pointer,
            format!("must lie between {low} and {high}, not {value}"),
        ));
    }
}

/// `a.b[2]` of `serde_path_to_error` as `/a/b/2`.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer += &format!("/{index}"),
            Segment::Map { key } => {
                pointer += &format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { variant } => pointer += &format!("/{variant}"),
            Segment::Unknown => {}
        }
    }

    pointer
}

#[cfg(test)]
mod tests;

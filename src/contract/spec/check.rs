//! Faults of a specification, each with the JSON pointer of the field and what to do about it.

mod gate;
mod methods;
mod numbers;
mod text;

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Spec, objects::Objects};
use crate::contract::codes::FailureCode;

pub use gate::check_gate_name;
pub use text::MAX_TEXT_BYTES;

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

/// Longest name of a job or of an external gate, in characters.
const NAME_LIMIT: usize = 80;

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

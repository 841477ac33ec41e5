//! What a look at one thing has found.

use std::fmt;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It works, and will not for ever.
    Warning,
    Trouble,
}

/// What was looked at, what was found and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub subject: String,
    pub state: State,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            state: State::Ok,
            found: found.into(),
            mend: None,
        }
    }

    pub fn warning(
        subject: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Warning,
            mend: Some(mend.into()),
            ..Self::ok(subject, found)
        }
    }

    pub fn trouble(
        subject: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Trouble,
            ..Self::warning(subject, found, mend)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.state {
            State::Ok => "ok      ",
            State::Warning => "warning ",
            State::Trouble => "TROUBLE ",
        };
        write!(f, "{mark}{}: {}", self.subject, self.found)?;

        match &self.mend {
            Some(mend) => write!(f, "\n        mend it: {mend}"),
            None => Ok(()),
        }
    }
}

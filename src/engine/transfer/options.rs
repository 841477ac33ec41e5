//! What a transfer is asked to do, in the engine's own words: no wire format is known here.

use serde::Serialize;

/// How the source's units are aligned with the target's; see [`super::methods`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Identity,
    Functional,
    WeightMatching,
    Gmt,
    Fgmt,
    Gradfix,
    Bico,
    Theseus,
    Oracle,
}

impl Method {
    /// The name used in reports, messages and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Functional => "functional",
            Self::WeightMatching => "weight_matching",
            Self::Gmt => "gmt",
            Self::Fgmt => "fgmt",
            Self::Gradfix => "gradfix",
            Self::Bico => "bico",
            Self::Theseus => "theseus",
            Self::Oracle => "oracle",
        }
    }

    /// Whether the method reads training samples.
    pub fn needs_data(self) -> bool {
        !matches!(self, Self::Identity | Self::WeightMatching)
    }

    /// Whether it reads their labels too.
    pub fn needs_labels(self) -> bool {
        self.needs_data() && !matches!(self, Self::Functional | Self::Theseus)
    }
}

/// λ of the linear trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Uniform,
    Cosine,
}

/// Which step of the trajectory becomes the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The best by validation.
    Best,
    Last,
}

/// What becomes of the output layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Transport,
    Source,
    Keep,
}

/// Length of the step along the transported task vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alpha {
    Fixed(f64),
    /// The best by validation, within the range of [`super::candidate::ALPHAS`].
    Search,
    /// As `Search`, then one for each group of layers.
    ByGroup,
}

impl Alpha {
    /// The first that is looked at.
    pub fn first(self) -> f64 {
        match self {
            Self::Fixed(alpha) => alpha,
            Self::Search | Self::ByGroup => 1.0,
        }
    }

    /// Whether several are tried.
    pub fn is_searched(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }
}

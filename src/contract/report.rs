//! `report.json`: what was tried, what came of it, what it cost.
//!
//! The pipeline writes a [`Report`], and whoever shows one reads the same type. Fields are written in the
//! order in which they stand here. A field of type `Option` is null where nothing was measured, unless its
//! comment says that it is absent.
//!
//! Reading forgives: a part that another version does not have is empty, and one that has another form is
//! left out ([`Report::from_json`]). Names of methods are texts for that reason.

mod baselines;
mod candidate;
mod cost;
mod decision;
mod diagnosis;
mod environment;
mod inputs;
mod lenient;
mod named;
mod timing;
mod touch_up;
mod update;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    evaluation::EvaluationRecord,
    outcome::{Recommendation, Verdict},
    spec::Method,
};

pub use baselines::{Baselines, Standing, Trained};
pub use candidate::{
    AlphaScore, AlphasByGroup, Candidate, Epoch, FineTuned, Fit, FittedLayer, FunctionalFits,
    FunctionalTrial, GroupAlpha, GroupMatch, LayerMaps, LossBarrier, MatchedStep, Scores, SignMask,
    StepScore,
};
pub use cost::{Cost, CostSummary};
pub use decision::Decision;
pub use diagnosis::{BaseCosines, Diagnosis, LadderStep, LayerCosine, Relation};
pub use environment::{Environment, Software};
pub use inputs::{HeadAdopted, RowsShared, SplitSizes};
pub use named::Named;
pub use timing::{Energy, PhaseTime, Timing, TrainingTimes, WeightMatchingOrigin};
pub use touch_up::{Look, RateTrial, TouchUp};
pub use update::{TruncatedTensor, UpdateSummary};

/// Changes with the form of a report.
pub const FORMAT: &str = "retune-report/1";

/// A transfer's report.
///
/// Everything outside `timing` and `environment` is the same for the same inputs, seed, device and
/// thread count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = Report)]
pub struct Report {
    #[serde(deserialize_with = "lenient::part")]
    pub format: String,
    /// Of the job. Absent where it has none.
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<String>,
    /// Of every report that this version writes there is one.
    #[serde(deserialize_with = "lenient::part")]
    pub verdict: Option<Verdict>,
    #[serde(deserialize_with = "lenient::part")]
    pub recommendation: Advice,
    #[serde(deserialize_with = "lenient::part")]
    pub decision: Decision,
    #[serde(deserialize_with = "lenient::part")]
    pub network: Network,
    #[serde(deserialize_with = "lenient::items")]
    pub warnings: Vec<String>,
    /// The method of the chosen candidate.
    #[serde(deserialize_with = "lenient::part")]
    #[schema(value_type = Method)]
    pub winner: String,
    /// `transferred` or `fine_tuned`.
    #[serde(deserialize_with = "lenient::part")]
    pub published_model: String,
    #[serde(deserialize_with = "lenient::part")]
    pub metrics: Metrics,
    /// The conditions of the gate; empty where there is none.
    #[serde(deserialize_with = "lenient::items")]
    pub gate: Vec<GateCheck>,
    /// What the external gate says. Absent where there is none, or it was not asked.
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub evaluation: Option<EvaluationRecord>,
    /// The head that a base lacks and that is the tuned model's.
    #[serde(deserialize_with = "lenient::part")]
    pub head: Option<HeadAdopted>,
    #[serde(deserialize_with = "lenient::items")]
    pub shared_rows: Vec<RowsShared>,
    /// Files of the new base's folder that are not carried along.
    #[serde(deserialize_with = "lenient::items")]
    pub left_out: Vec<String>,
    #[serde(deserialize_with = "lenient::part")]
    pub splits: SplitSizes,
    #[serde(deserialize_with = "lenient::part")]
    pub baselines: Baselines,
    #[serde(deserialize_with = "lenient::items")]
    pub candidates: Vec<Candidate>,
    /// The winner after its training, where the job grants one.
    #[serde(deserialize_with = "lenient::part")]
    pub fine_tune: Option<FineTuned>,
    #[serde(deserialize_with = "lenient::part")]
    pub negative_flips: Option<NegativeFlips>,
    #[serde(deserialize_with = "lenient::part")]
    pub diagnosis: Diagnosis,
    /// The rungs that `auto` took and skipped; null where methods are named.
    #[serde(deserialize_with = "lenient::part")]
    pub ladder: Option<Vec<LadderStep>>,
    #[serde(deserialize_with = "lenient::part")]
    pub selection: SelectionRule,
    #[serde(deserialize_with = "lenient::part")]
    pub cost: CostSummary,
    #[serde(deserialize_with = "lenient::part")]
    pub timing: Timing,
    #[serde(deserialize_with = "lenient::part")]
    pub environment: Environment,
    /// The adapter beside the model. Absent where none was asked for or nothing is published.
    #[serde(
        deserialize_with = "lenient::part",
        skip_serializing_if = "Option::is_none"
    )]
    pub update: Option<UpdateSummary>,
}

/// What is known of a model's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// How it computes.
    #[default]
    Graph,
    /// The names and shapes of its tensors alone: no builder knows its architecture.
    ByNames,
}

impl Network {
    pub fn is_graph(&self) -> bool {
        *self == Self::Graph
    }
}

/// Why a document cannot be read as a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("is no report: {0}")]
    OtherDocument(&'static str),
}

impl Report {
    /// Reads a report of any version: a part that has another form is left out. What every version has
    /// tells a report from any other document.
    ///
    /// # Errors
    /// Text that is no JSON, or another document, with what it lacks.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReportError> {
        let document: Value = serde_json::from_slice(bytes)?;
        if !document.is_object() {
            return Err(ReportError::OtherDocument("it is no JSON object"));
        }
        if !document["candidates"].is_array() {
            return Err(ReportError::OtherDocument("it has no list of candidates"));
        }

        if document
            .get("format")
            .is_some_and(|format| !is_of_reports(format))
        {
            return Err(ReportError::OtherDocument(
                "its format is not that of reports",
            ));
        }

        Ok(serde_json::from_value(document)?)
    }
}

/// Whether a format is that of reports, in whichever version.
fn is_of_reports(format: &Value) -> bool {
    let (name, _) = FORMAT.split_once('/').unwrap_or((FORMAT, ""));
    format
        .as_str()
        .and_then(|format| format.split_once('/'))
        .is_some_and(|(own, _)| own == name)
}

/// What the evidence says the owner should do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Advice {
    /// Null where nothing was measured.
    #[serde(deserialize_with = "lenient::part")]
    pub action: Option<Recommendation>,
    /// With their numbers.
    #[serde(deserialize_with = "lenient::items")]
    pub reasons: Vec<String>,
}

/// The figures that stand for the result, on the split that judges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Metrics {
    #[schema(value_type = Method)]
    pub method: String,
    /// Of the trajectory, from 1.
    pub step: usize,
    pub alpha: f64,
    /// Absent without data.
    #[serde(flatten)]
    pub measured: Option<Measured>,
}

/// Shares of right answers in [0, 1], mean losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    /// `test`, or `validation` where no test split was given.
    pub split: String,
    /// Null where that split has no labels, and of a regression. Of several labels, and of an answer's ends, the
    /// share of samples that have all right.
    pub accuracy: Option<f64>,
    /// Of a regression alone: the share of the labels' variance that the result explains, `1 − MSE / variance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Null where that split has no labels.
    pub loss: Option<f64>,
    /// Share of predictions that are the old tuned model's; of a regression R² beside its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Mean divergence from the old tuned model's probabilities, in nats; of a regression the mean squared difference
    /// from its values. Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
    /// `(accuracy − target before) / (source tuned − target before)`, of agreements where there are no
    /// labels; null where the tuning gained nothing.
    pub recovery: Option<f64>,
    pub source_accuracy: Option<f64>,
    /// Of a regression alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_r2: Option<f64>,
    pub target_accuracy_before: Option<f64>,
    /// Of a regression alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_r2_before: Option<f64>,
    /// Of the new base. Absent where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_agreement_before: Option<f64>,
}

/// One condition of the gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GateCheck {
    pub condition: String,
    pub bound: f64,
    pub value: f64,
    pub passed: bool,
}

/// Test samples (or tokens to be predicted) that the old tuned model got right and the new one gets
/// wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NegativeFlips {
    pub samples: usize,
    /// Of all that were judged, in [0, 1].
    pub share: f64,
}

/// How candidates were chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SelectionRule {
    /// The grid beside which a search looks.
    pub alphas: Vec<f64>,
    /// Training samples from which running statistics of the result are re-estimated.
    pub statistics_samples: usize,
    /// The same of models that race.
    pub race_statistics_samples: usize,
    /// Validation samples that choose; null without validation.
    pub samples: Option<usize>,
    /// 1 less the error of dropping a candidate.
    pub confidence: f64,
    /// Accuracy lost without regret.
    pub margin: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Report::from_json(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn another_document_is_no_report_and_says_why() {
        assert!(refused("{").starts_with("is no JSON"));
        assert_eq!(refused("[]"), "is no report: it is no JSON object");
        assert_eq!(refused("{}"), "is no report: it has no list of candidates");
        let manifest = r#"{"format": "retune-result/1", "candidates": []}"#;
        assert_eq!(
            refused(manifest),
            "is no report: its format is not that of reports"
        );
    }

    #[test]
    fn a_report_of_another_version_is_read_as_far_as_it_goes() {
        let text = r#"{"format": "retune-report/7", "candidates": [3, {"method": "fgmt"}],
            "winner": [], "metrics": 1}"#;
        let report = Report::from_json(text.as_bytes()).unwrap();
        assert_eq!(report.candidates.len(), 1);
        assert_eq!(
            (report.winner.as_str(), report.metrics),
            ("", Metrics::default())
        );
    }

    #[test]
    fn a_layers_cosine_is_a_list_of_two() {
        let layers = r#"["fc",0.5]"#;
        let read: LayerCosine = serde_json::from_str(layers).unwrap();
        assert_eq!(
            read,
            LayerCosine {
                layer: "fc".into(),
                cosine: Some(0.5)
            }
        );
        assert_eq!(serde_json::to_string(&read).unwrap(), layers);
    }
}

//! What the labels of a dataset are, by the task of the network that reads it.

use super::{LABELS, integers};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::{
        network::Task,
        tensors::{DType, HostTensor, Signature, TensorInfo},
        training::{Dataset, cross_entropy::IGNORED, dataset::next_labels},
    },
    storage::Location,
};

/// The first and the last token of an answer, where they are tensors of their own.
pub const ENDS: [&str; 2] = ["start_positions", "end_positions"];

/// What labels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelForm {
    /// A class for each sample, `[N]`, or the token before predicts it, `[N, S]`.
    #[default]
    Classes,
    /// What each token is itself, `[N, S]`.
    OfTokens,
    /// Target sequences, of a length of their own, `[N, T]`.
    Targets,
    /// Of several labels each 0 or 1, `[N, K]`.
    Several,
    /// Values, f32 `[N]` or `[N, K]`.
    Values,
    /// The first and the last token of an answer, `[N, 2]`; both beyond the sentence where there is none.
    Ends,
}

impl From<Task> for LabelForm {
    fn from(task: Task) -> Self {
        match task {
            Task::TokenClassification | Task::MaskedToken => Self::OfTokens,
            Task::SequenceToSequence => Self::Targets,
            Task::MultiLabelClassification => Self::Several,
            Task::Regression => Self::Values,
            Task::QuestionAnswering => Self::Ends,
            Task::Classification | Task::NextToken | Task::Representation => Self::Classes,
        }
    }
}

impl LabelForm {
    /// Whether two axes of labels are samples and tokens.
    pub fn may_be_of_tokens(self) -> bool {
        matches!(self, Self::Classes | Self::OfTokens | Self::Targets)
    }

    /// Refuses labels of another type or shape, by their header; `inputs` are called `name`.
    ///
    /// # Errors
    /// `wrong_dtype`, `wrong_shape`.
    pub fn check(
        self,
        labels: &TensorInfo,
        name: &str,
        inputs: &TensorInfo,
        location: &Location,
    ) -> Result<(), ArtifactError> {
        let dtypes = match self {
            Self::Values => "F32, the values of a regression",
            Self::Several => "I64 or F32, 0 or 1 for each of several labels",
            _ => "I64",
        };
        let is_allowed = match self {
            Self::Values => labels.dtype == DType::F32,
            Self::Several => matches!(labels.dtype, DType::I64 | DType::F32),
            _ => labels.dtype == DType::I64,
        };
        if !is_allowed {
            let hint = if labels.dtype == DType::F32 {
                "; of a regression or of several labels say so in config.json (problem_type, or task in a graph)"
            } else {
                ""
            };
            let detail = format!("must be {dtypes}{hint}");
            return Err(refused(FailureCode::WrongDtype, location, detail));
        }

        self.check_shape(labels, name, inputs, location)
    }

    fn check_shape(
        self,
        labels: &TensorInfo,
        name: &str,
        inputs: &TensorInfo,
        location: &Location,
    ) -> Result<(), ArtifactError> {
        let (rank, columns) = (labels.shape.len(), labels.shape.get(1).copied());
        let is_one_a_token = name == super::IDS && labels.shape == inputs.shape;
        let (is_shaped, shapes) = match self {
            Self::Classes | Self::OfTokens => (
                rank == 1 || is_one_a_token,
                format!("[N] beside {name} [N, …], or as input_ids for a language model"),
            ),
            Self::Targets => (
                rank == 2 && columns != Some(0) && name != super::INPUTS,
                "[N, T], a target sequence for each sample".to_owned(),
            ),
            Self::Several => (
                rank == 2 && columns != Some(0),
                "[N, K], a row of 0 and 1 for each sample".to_owned(),
            ),
            Self::Values => (
                rank == 1 || (rank == 2 && columns != Some(0)),
                "[N] or [N, K], values of each sample".to_owned(),
            ),
            Self::Ends => (
                rank == 2 && columns == Some(2),
                format!(
                    "[N, 2], the first and the last token of an answer (or {} and {}, [N] each)",
                    ENDS[0], ENDS[1]
                ),
            ),
        };
        if !is_shaped {
            let detail = format!("must be {shapes}, not {:?}", labels.shape);
            return Err(refused(FailureCode::WrongShape, location, detail));
        }
        if labels.shape.first() != inputs.shape.first() {
            let (own, others) = (labels.shape.first(), inputs.shape.first());
            let [own, others] = [own, others].map(|count| count.copied().unwrap_or(0));
            let detail = format!("{own} labels for {others} {name}");
            return Err(refused(FailureCode::WrongShape, location, detail));
        }

        Ok(())
    }

    /// Puts both ends of answers into one tensor of labels, by their headers.
    ///
    /// # Errors
    /// `missing_tensor` where one of them is missing, `unexpected_tensor` beside labels.
    pub fn joined(
        self,
        mut signature: Signature,
        location: &Location,
    ) -> Result<Signature, ArtifactError> {
        let Some([start, end]) = self.ends(&signature, location)? else {
            return Ok(signature);
        };
        let mut shape = start.shape.clone();
        if start != end {
            let detail = format!(
                "is {:?} here and {:?} in {}",
                end.shape, start.shape, ENDS[0]
            );
            return Err(ArtifactError::tensor(
                FailureCode::WrongShape,
                location,
                ENDS[1],
                detail,
            ));
        }
        shape.push(2);
        let dtype = start.dtype;
        ENDS.iter().for_each(|name| drop(signature.remove(*name)));
        signature.insert(LABELS.to_owned(), TensorInfo { dtype, shape });

        Ok(signature)
    }

    /// The headers of both ends, where they are tensors of their own and are to be read.
    fn ends(
        self,
        signature: &Signature,
        location: &Location,
    ) -> Result<Option<[TensorInfo; 2]>, ArtifactError> {
        let found = ENDS.map(|name| signature.get(name).cloned());
        if self != Self::Ends || found.iter().all(Option::is_none) {
            return Ok(None);
        }
        if signature.contains_key(LABELS) {
            let detail = "stands beside labels; give one of them";
            let code = FailureCode::UnexpectedTensor;
            return Err(ArtifactError::tensor(code, location, ENDS[0], detail));
        }

        match found {
            [Some(start), Some(end)] => Ok(Some([start, end])),
            [start, _] => {
                let missing = if start.is_none() { ENDS[0] } else { ENDS[1] };
                let detail = "is missing: an answer has a first and a last token";
                let code = FailureCode::MissingTensor;
                Err(ArtifactError::tensor(code, location, missing, detail))
            }
        }
    }

    /// Gives samples their labels, from a tensor whose header was checked.
    ///
    /// # Errors
    /// `label_out_of_range`, `not_finite`.
    pub fn label(
        self,
        dataset: Dataset,
        labels: &HostTensor,
        location: &Location,
    ) -> Result<Dataset, ArtifactError> {
        match self {
            Self::Classes | Self::OfTokens | Self::Targets => {
                self.label_classes(dataset, labels, location)
            }
            Self::Several => {
                let found = zeros_and_ones(labels, location)?;
                Ok(dataset.labelled_together(found))
            }
            Self::Values => {
                let each = labels.len() / dataset.len().max(1);
                let values = labels.f32();
                if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                    let (sample, value) = (at / each.max(1), values[at]);
                    let detail = format!("sample {sample} has the value {value}");
                    let code = FailureCode::NotFinite;
                    return Err(ArtifactError::tensor(code, location, LABELS, detail));
                }
                Ok(dataset.of_values(&values))
            }
            Self::Ends => {
                let found = answers(&integers(labels), dataset.sample_shape()[0], location)?;
                Ok(dataset.labelled_together(found))
            }
        }
    }

    fn label_classes(
        self,
        dataset: Dataset,
        tensor: &HostTensor,
        location: &Location,
    ) -> Result<Dataset, ArtifactError> {
        let labels = integers(tensor);
        let of_tokens = tensor.shape().len() == 2;
        let given = labels
            .iter()
            .copied()
            .filter(|&label| !of_tokens || label != IGNORED);
        super::check_labels(&given.collect::<Vec<_>>(), i64::MAX as usize, location)?;

        Ok(if of_tokens && self == Self::Classes {
            let length = dataset.sample_shape()[0];
            dataset.labelled(next_labels(&labels, length))
        } else {
            dataset.labelled(labels)
        })
    }

    /// Gives samples a model's own predictions for labels, one for each label that they would have.
    #[must_use]
    pub fn label_by_model(self, dataset: Dataset, predictions: Vec<i64>) -> Dataset {
        match self {
            Self::Classes | Self::OfTokens | Self::Targets => dataset.labelled(predictions),
            Self::Several | Self::Ends => dataset.labelled_together(predictions),
            Self::Values => dataset.valued(predictions),
        }
    }
}

fn refused(code: FailureCode, location: &Location, detail: String) -> ArtifactError {
    ArtifactError::tensor(code, location, LABELS, detail)
}

/// Both ends of answers in one tensor `[N, 2]`.
pub fn joined_ends(start: &HostTensor, end: &HostTensor) -> HostTensor {
    let pairs = integers(start).into_iter().zip(integers(end));
    let both: Vec<i64> = pairs.flat_map(|(start, end)| [start, end]).collect();
    HostTensor::from_i64(vec![both.len() / 2, 2], &both)
}

fn zeros_and_ones(labels: &HostTensor, location: &Location) -> Result<Vec<i64>, ArtifactError> {
    let each = labels.shape().get(1).copied().unwrap_or(1).max(1);
    let values: Vec<f64> = if labels.dtype() == DType::F32 {
        labels.f32().iter().map(|&value| f64::from(value)).collect()
    } else {
        integers(labels)
            .into_iter()
            .map(|value| value as f64)
            .collect()
    };
    let odd = values.iter().position(|value| ![0.0, 1.0].contains(value));
    if let Some(at) = odd {
        let (sample, label) = (at / each, values[at]);
        let detail =
            format!("sample {sample} has the label {label}; each of several labels is 0 or 1");
        let code = FailureCode::LabelOutOfRange;
        return Err(ArtifactError::tensor(code, location, LABELS, detail));
    }

    Ok(values.into_iter().map(|value| value as i64).collect())
}

/// Answers, those that lie beyond the sentence ignored, as the library has it.
fn answers(labels: &[i64], length: usize, location: &Location) -> Result<Vec<i64>, ArtifactError> {
    if let Some(at) = labels.iter().position(|&label| label < 0) {
        let (sample, label) = (at / 2, labels[at]);
        let detail = format!(
            "sample {sample} has an end at token {label}; tokens are counted from 0, and where there is no \
             answer both ends are at {length} or beyond"
        );
        let code = FailureCode::LabelOutOfRange;
        return Err(ArtifactError::tensor(code, location, LABELS, detail));
    }

    let answers = labels.chunks(2).flat_map(|ends| {
        let is_beyond = ends.iter().all(|&end| end >= length as i64);
        ends.iter()
            .map(move |&end| if is_beyond { IGNORED } else { end })
    });

    Ok(answers.collect())
}

#[cfg(test)]
mod tests;

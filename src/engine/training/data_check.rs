//! Whether data fit a model. Data are checked once; after that nothing here fails.

mod header;

pub use header::DataHeader;

use super::{Batch, Dataset, Learner, Value, cross_entropy::IGNORED};
use crate::network::{Layer, Task, Token, program::layer::SelectToken, token::ABSENT};

/// Data that do not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataFault {
    #[error("the data set has no samples")]
    Empty,
    #[error("samples have shape {found:?}, but the model reads {expected:?}")]
    SampleShape {
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    #[error("sample {position} has label {label}, but the model knows the classes 0 to {}", classes - 1)]
    Label {
        position: usize,
        label: i64,
        classes: usize,
    },
    #[error("sample {position} has the token id {id}, but the model knows the ids 0 to {}", vocabulary - 1)]
    TokenId {
        position: usize,
        id: String,
        vocabulary: usize,
    },
    #[error(
        "sample {position} has the token type {token_type}, but the model knows the types 0 to {}",
        types - 1
    )]
    TokenType {
        position: usize,
        token_type: u32,
        types: usize,
    },
    #[error("the data have token_type_ids, which the model does not read; leave them out")]
    NoTokenTypes,
    #[error(
        "sample {position} has no token {token}, at which the model tells the class; end every sentence with it \
         (eos_token_id in config.json), as the model's tokenizer does"
    )]
    NoEnd { position: usize, token: u32 },
    #[error(
        "sample {position} has the token {token} {found} times, and sample 0 has it {expected} times; the model tells \
         the class at the last of them and reads samples with as many alone: give every sentence one, at its end, \
         and no padding of this id"
    )]
    OtherEnds {
        position: usize,
        token: u32,
        expected: usize,
        found: usize,
    },
    #[error("sample {position} has the label {label}, but each of several labels is 0 or 1")]
    NotBinary { position: usize, label: i64 },
    #[error("sample {position} has a value that is no finite number")]
    Value { position: usize },
    #[error(
        "sample {position} has an answer from token {start} to {end}; an end is a token of the {length}, or both \
         are beyond them where there is no answer"
    )]
    Answer {
        position: usize,
        start: i64,
        end: i64,
        length: usize,
    },
    #[error(
        "sample {position} is shorter than others and not filled up; the ends of an answer are chosen among all \
         positions, so fill every sentence up to one length with the padding's id and an attention_mask of 0"
    )]
    Shorter { position: usize },
    #[error("a sample has {found} labels, but the model predicts {expected}")]
    LabelCount { expected: String, found: usize },
    #[error(
        "the samples have no labels, and a model from sequence to sequence reads its target sequences from them: \
         give labels [N, T]"
    )]
    NoTargets,
    #[error("target sequences have {found} tokens, but the model writes {longest} at most")]
    TargetLength { longest: usize, found: usize },
    #[error("no label is to be predicted: every one is -100, or stands where nothing is predicted")]
    NothingCounted,
    #[error(
        "sample {position} has a label to be predicted at its padded position {token}; pad on the \
         right, and give -100 at the first token of a sentence that is padded on the left"
    )]
    PredictedByPadding { position: usize, token: usize },
}

impl DataFault {
    /// The kind in short; its stable name is `FailureCode`'s.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Empty | Self::NothingCounted => "empty_dataset",
            Self::SampleShape { .. } => "wrong_input_shape",
            Self::Label { .. } | Self::NotBinary { .. } | Self::Answer { .. } => {
                "label_out_of_range"
            }
            Self::Value { .. } => "not_finite",
            Self::TokenId { .. } | Self::TokenType { .. } => "token_out_of_range",
            Self::NoTokenTypes => "unexpected_tensor",
            Self::NoEnd { .. } | Self::OtherEnds { .. } => "missing_token",
            Self::LabelCount { .. } | Self::TargetLength { .. } | Self::Shorter { .. } => {
                "wrong_shape"
            }
            Self::NoTargets => "labels_missing",
            Self::PredictedByPadding { .. } => "invalid_mask",
        }
    }
}

impl Learner<'_> {
    /// Whether the model can read these samples and has a class for every label that they have. Call it before
    /// anything else is done with a data set.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self, data: &Dataset) -> Result<(), DataFault> {
        if data.is_empty() {
            return Err(DataFault::Empty);
        }

        self.program
            .check_header(DataHeader::of(data), self.classes)?;
        self.check_ids(data)?;
        self.check_ends(data)?;
        if self.graph.task == Task::QuestionAnswering {
            check_filled(data)?;
        }
        if !data.has_labels() {
            return Ok(());
        }

        match self.graph.task {
            Task::SequenceToSequence => check_any_counted(data)?,
            task if task.is_of_tokens() => check_counted(data)?,
            _ => {}
        }

        match self.graph.task {
            Task::QuestionAnswering => check_answers(data),
            _ => self.check_labels(data),
        }
    }

    fn check_labels(&self, data: &Dataset) -> Result<(), DataFault> {
        let mut labels = data.labels().iter();
        let Some(at) = labels.position(|&label| !self.knows(label)) else {
            return Ok(());
        };
        let (position, label) = (at / data.labels_each(), data.labels()[at]);

        Err(match self.graph.task {
            Task::Regression => DataFault::Value { position },
            Task::MultiLabelClassification => DataFault::NotBinary { position, label },
            _ => DataFault::Label {
                position,
                label,
                classes: self.known_labels(),
            },
        })
    }

    /// Labels lie below this. Those of a target sequence are read, too.
    fn known_labels(&self) -> usize {
        self.classes
            .min(self.target_vocabulary.unwrap_or(self.classes))
    }

    /// Whether a sample or a token may have this label.
    fn knows(&self, label: i64) -> bool {
        match self.graph.task {
            Task::Regression => Value::of_label(label).0.is_finite(),
            Task::MultiLabelClassification => (0..2).contains(&label),
            task if task.is_of_tokens() && label == IGNORED => true,
            _ => (0..self.known_labels() as i64).contains(&label),
        }
    }

    /// Ids and types that their tables have rows for, those of masked tokens included: a table is read
    /// there too.
    fn check_ids(&self, data: &Dataset) -> Result<(), DataFault> {
        let Some(vocabulary) = self.vocabulary else {
            return Ok(());
        };
        let types = self.token_types.unwrap_or(1);

        for position in 0..data.len() {
            for packed in data.batch(&[position]).inputs {
                if packed.fract() != 0.0 {
                    let id = packed.to_string();
                    return Err(DataFault::TokenId {
                        position,
                        id,
                        vocabulary,
                    });
                }
                let Some(token) = Token::of(packed) else {
                    continue;
                };
                if token.id as usize >= vocabulary {
                    let id = token.id.to_string();
                    return Err(DataFault::TokenId {
                        position,
                        id,
                        vocabulary,
                    });
                }
                if token.token_type as usize >= types {
                    let token_type = token.token_type;
                    return Err(DataFault::TokenType {
                        position,
                        token_type,
                        types,
                    });
                }
            }
        }

        Ok(())
    }

    /// Whether every sentence has the token that the model tells the class at, and all have as many of it: in the
    /// library a batch of others is an error (`T5ForSequenceClassification`, `BartForSequenceClassification`).
    fn check_ends(&self, data: &Dataset) -> Result<(), DataFault> {
        let Some(token) = self.end_token() else {
            return Ok(());
        };

        let mut expected = None;
        for position in 0..data.len() {
            let inputs = data.batch(&[position]).inputs;
            let tokens = inputs.into_iter().filter_map(Token::of);
            let found = tokens.filter(|found| found.id == token).count();
            let expected = *expected.get_or_insert(found);
            if found == 0 {
                return Err(DataFault::NoEnd { position, token });
            }
            if found != expected {
                return Err(DataFault::OtherEnds {
                    position,
                    token,
                    expected,
                    found,
                });
            }
        }

        Ok(())
    }

    /// The id at whose last place in a sentence the model reads what it tells.
    fn end_token(&self) -> Option<u32> {
        let mut layers = self.program.instructions.iter().map(|step| &step.layer);
        layers.find_map(|layer| match layer {
            Layer::SelectToken(SelectToken { token, .. }) => *token,
            _ => None,
        })
    }
}

/// Whether every sentence is of full length: a position that no token stands at would be chosen among.
fn check_filled(data: &Dataset) -> Result<(), DataFault> {
    let shorter =
        (0..data.len()).find(|&position| data.batch(&[position]).inputs.contains(&ABSENT));
    shorter.map_or(Ok(()), |position| Err(DataFault::Shorter { position }))
}

/// Whether there is an answer, and each of them within its sentence.
fn check_answers(data: &Dataset) -> Result<(), DataFault> {
    let length = data.sample_shape()[0];
    let is_within = 0..length as i64;
    for (position, answer) in data.labels().as_chunks::<2>().0.iter().enumerate() {
        let &[start, end] = answer;
        let is_none = start == IGNORED && end == IGNORED;
        let is_answer = is_within.contains(&start) && is_within.contains(&end);
        if !(is_none || is_answer) {
            return Err(DataFault::Answer {
                position,
                start,
                end,
                length,
            });
        }
    }

    check_any_counted(data)
}

/// Whether something is to be predicted.
fn check_any_counted(data: &Dataset) -> Result<(), DataFault> {
    if data.labels().iter().any(|&label| label != IGNORED) {
        Ok(())
    } else {
        Err(DataFault::NothingCounted)
    }
}

/// Whether some token is to be predicted, and none from a padded position: what a model computes there
/// depends on the padding.
fn check_counted(data: &Dataset) -> Result<(), DataFault> {
    let mut seen = false;
    for position in 0..data.len() {
        let Batch { inputs, labels, .. } = data.batch(&[position]);
        let mut pairs = inputs.iter().zip(&labels);
        if let Some(token) = pairs.position(|(&id, &label)| id < 0.0 && label != IGNORED) {
            return Err(DataFault::PredictedByPadding { position, token });
        }
        seen |= labels.iter().any(|&label| label != IGNORED);
    }

    if seen {
        Ok(())
    } else {
        Err(DataFault::NothingCounted)
    }
}

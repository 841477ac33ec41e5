//! What headers show of whether data fit a model. A plan asks before anything else is read, a run with all that it
//! has read: both refuse the same.

use super::DataFault;
use crate::{
    network::{Layer, Program, Task},
    training::Dataset,
};

/// What the header of a data set says.
#[derive(Clone, Copy, Debug)]
pub struct DataHeader<'a> {
    /// Shape of one sample, without the batch axis.
    pub sample_shape: &'a [usize],
    /// Labels of a sample, where there are any.
    pub labels_each: Option<usize>,
    /// Token types stand beside the ids, be they all 0.
    pub has_token_types: bool,
}

impl<'a> DataHeader<'a> {
    pub(super) fn of(data: &'a Dataset) -> Self {
        Self {
            sample_shape: data.sample_shape(),
            labels_each: data.has_labels().then(|| data.labels_each()),
            has_token_types: data.has_token_types(),
        }
    }
}

impl Program {
    /// Whether the network reads samples of this header, and predicts as many labels as each has. `classes` is the
    /// width of its output ([`Program::classes`]).
    ///
    /// # Errors
    /// The first fault found.
    pub fn check_header(&self, header: DataHeader<'_>, classes: usize) -> Result<(), DataFault> {
        if !self.reads(header.sample_shape) {
            let (expected, found) = (self.input.shape().to_vec(), header.sample_shape.to_vec());
            return Err(DataFault::SampleShape { expected, found });
        }
        if header.has_token_types && !self.reads_token_types() {
            return Err(DataFault::NoTokenTypes);
        }

        match (self.target, header.labels_each) {
            (Some(_), None) => Err(DataFault::NoTargets),
            (Some([longest]), Some(found)) if found > longest => {
                Err(DataFault::TargetLength { longest, found })
            }
            (Some(_), Some(_)) | (None, None) => Ok(()),
            (None, Some(found)) => self.check_label_count(found, header.sample_shape, classes),
        }
    }

    fn reads_token_types(&self) -> bool {
        let mut layers = self.instructions.iter().map(|step| &step.layer);
        layers.any(|layer| matches!(layer, Layer::TokenTypeEmbedding { .. }))
    }

    /// As many labels as the task has for a sample of this shape.
    fn check_label_count(
        &self,
        found: usize,
        sample_shape: &[usize],
        classes: usize,
    ) -> Result<(), DataFault> {
        let expected = match self.task {
            task if task.is_of_tokens() => sample_shape[0],
            Task::MultiLabelClassification | Task::Regression => classes,
            Task::QuestionAnswering => 2,
            _ => 1,
        };
        if found == expected {
            return Ok(());
        }

        let expected = match self.task {
            task if task.is_of_tokens() => "one a token".into(),
            Task::MultiLabelClassification => format!("{classes}, 0 or 1 each"),
            Task::Regression => format!("{classes}, each a value"),
            Task::QuestionAnswering => "two, the first and the last token of an answer".into(),
            _ => "one".into(),
        };
        Err(DataFault::LabelCount { expected, found })
    }
}

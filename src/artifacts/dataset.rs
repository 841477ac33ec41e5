//! A safetensors file of labelled samples: `inputs` (f32, or u8 read as value/255) `[N, …]` and
//! `labels` i64 `[N]`.

use crate::{
    engine::{
        learning::Dataset,
        network::{Checkpoint, DType, HostTensor, Signature},
    },
    spec::Preprocess,
    storage::{Blocking, Location},
};

use super::{Access, InputFile, error::ArtifactError, tensors};

const INPUTS: &str = "inputs";
const LABELS: &str = "labels";

/// What a header says of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    pub samples: usize,
    /// Shape of one sample.
    pub sample_shape: Vec<usize>,
}

/// Looks at a dataset's header.
///
/// # Errors
/// `missing_tensor`, `wrong_dtype`, `wrong_shape`, `empty_dataset`, `not_implemented`, or as
/// `tensors::read_header`.
pub fn look(storage: Blocking<'_>, location: &Location) -> Result<DatasetInfo, ArtifactError> {
    check_form(location)?;
    let header = tensors::read_header(storage, location)?;
    check_signature(&header.signature(), location)
}

/// Reads a dataset and checks its values.
///
/// # Errors
/// As [`look`]; `not_finite`; `label_out_of_range` for a label below zero; `invalid_preprocess`.
pub fn read(
    access: &Access<'_>,
    location: &Location,
    preprocess: Option<&Preprocess>,
) -> Result<(Dataset, InputFile), ArtifactError> {
    check_form(location)?;
    let (file, input) = access.fetch(location)?;
    let checkpoint = tensors::open(&file.path, location)?;
    let info = check_signature(&checkpoint.signature(), location)?;
    tensors::check_finite(&only_inputs(&checkpoint), location)?;
    let labels: Vec<i64> = checkpoint[LABELS]
        .bytes()
        .as_chunks()
        .0
        .iter()
        .map(|&label| i64::from_le_bytes(label))
        .collect();
    check_labels(&labels, i64::MAX as usize, location)?;
    let inputs = checkpoint[INPUTS].clone();
    let dataset = if inputs.dtype() == DType::U8 {
        Dataset::from_bytes(inputs.bytes(), info.sample_shape, labels)
    } else {
        Dataset::from_floats(inputs, labels)
    };
    Ok((normalised(dataset, preprocess, location)?, input))
}

/// Refuses labels outside `0..classes`.
///
/// # Errors
/// `label_out_of_range`, with the sample.
pub fn check_labels(
    labels: &[i64],
    classes: usize,
    location: &Location,
) -> Result<(), ArtifactError> {
    let inside = |&label: &i64| usize::try_from(label).is_ok_and(|label| label < classes);
    let Some(at) = labels.iter().position(|label| !inside(label)) else { return Ok(()) };
    let bound = if classes == i64::MAX as usize {
        "must not be negative".to_owned()
    } else {
        format!("must lie between 0 and {}, for the model has {classes} classes", classes - 1)
    };
    let detail = format!("sample {at} has the label {}; labels {bound}", labels[at]);
    Err(ArtifactError::tensor("label_out_of_range", location, LABELS, detail))
}

/// Refuses samples of another shape than the network's input.
///
/// # Errors
/// `wrong_input_shape`.
pub fn check_input_shape(
    found: &[usize],
    expected: &[usize],
    location: &Location,
) -> Result<(), ArtifactError> {
    if found == expected {
        return Ok(());
    }
    let detail = format!("samples have shape {found:?}, but the network reads {expected:?}");
    Err(ArtifactError::tensor("wrong_input_shape", location, INPUTS, detail))
}

fn check_form(location: &Location) -> Result<(), ArtifactError> {
    if location.name().ends_with(".parquet") {
        let detail = "Parquet is not implemented yet; give a safetensors file";
        return Err(ArtifactError::fault("not_implemented", location, detail));
    }
    Ok(())
}

fn check_signature(
    signature: &Signature,
    location: &Location,
) -> Result<DatasetInfo, ArtifactError> {
    let fault = |code, tensor: &str, detail: &str| {
        Err(ArtifactError::tensor(code, location, tensor, detail))
    };
    let Some(inputs) = signature.get(INPUTS) else {
        if signature.contains_key("input_ids") {
            return fault("not_implemented", "input_ids", "token data is not implemented yet");
        }
        return fault("missing_tensor", INPUTS, "is missing: f32 or u8, one row a sample");
    };
    let Some(labels) = signature.get(LABELS) else {
        return fault("missing_tensor", LABELS, "is missing: i64, one a sample");
    };
    if !matches!(inputs.dtype, DType::F32 | DType::U8) {
        return fault("wrong_dtype", INPUTS, "must be F32, or U8 to be scaled by 1/255");
    }
    if labels.dtype != DType::I64 {
        return fault("wrong_dtype", LABELS, "must be I64");
    }
    let (&[samples], [rows, sample_shape @ ..]) = (&labels.shape[..], &inputs.shape[..]) else {
        let detail = format!("must be [N] beside inputs [N, …], not {:?}", labels.shape);
        return fault("wrong_shape", LABELS, &detail);
    };
    if *rows != samples {
        let detail = format!("{samples} labels for {rows} inputs");
        return fault("wrong_shape", LABELS, &detail);
    }
    if samples == 0 {
        return fault("empty_dataset", LABELS, "there is no sample");
    }
    if sample_shape.is_empty() || sample_shape.contains(&0) {
        let detail = format!("has the shape {:?}; a sample needs values", inputs.shape);
        return fault("wrong_shape", INPUTS, &detail);
    }
    Ok(DatasetInfo { samples, sample_shape: sample_shape.to_vec() })
}

fn only_inputs(checkpoint: &Checkpoint) -> Checkpoint {
    let inputs: HostTensor = checkpoint[INPUTS].clone();
    [(INPUTS.to_owned(), inputs)].into_iter().collect()
}

fn normalised(
    dataset: Dataset,
    preprocess: Option<&Preprocess>,
    location: &Location,
) -> Result<Dataset, ArtifactError> {
    let Some(preprocess) = preprocess else { return Ok(dataset) };
    let shape = dataset.sample_shape().to_vec();
    dataset.normalised(&preprocess.mean, &preprocess.std).ok_or_else(|| {
        let detail = format!(
            "samples of shape {shape:?} need one mean and std, or {} of each, not {}",
            shape[0],
            preprocess.mean.len()
        );
        ArtifactError::tensor("invalid_preprocess", location, INPUTS, detail)
    })
}

//! Labelled samples, as a safetensors file or in Parquet.
//!
//! A safetensors file has `inputs` (f32, or u8 read as value/255) `[N, …]`, or
//! `input_ids` i64 `[N, S]` with an optional `attention_mask` i64 `[N, S]` (0: padded); and `labels`
//! i64 `[N]`. For a language model `labels` are i64 `[N, S]` beside the ids, −100 where nothing is to be
//! predicted; position t predicts the label at t + 1, as Hugging Face has it. A file whose name ends in
//! `.parquet` is read into the same tensors.

mod parquet;

use crate::{
    engine::{
        learning::{Dataset, cross_entropy::IGNORED},
        network::{Checkpoint, DType, HostTensor, Signature},
    },
    spec::Preprocess,
    storage::{Location, Storage},
};

use super::{Access, InputFile, error::ArtifactError, model::is_pickle, tensors};

const INPUTS: &str = "inputs";
const LABELS: &str = "labels";
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
/// Ids are held as f32, which counts exactly up to here.
const LARGEST_ID: i64 = 1 << 24;

/// What a header says of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    pub samples: usize,
    /// Shape of one sample.
    pub sample_shape: Vec<usize>,
}

/// Looks at a dataset's header; of Parquet at its first rows too.
///
/// # Errors
/// `missing_tensor`, `unexpected_tensor`, `wrong_dtype`, `wrong_shape`, `empty_dataset`, or as
/// `tensors::read_header` and `parquet::open`.
pub fn look(storage: &Storage, location: &Location) -> Result<DatasetInfo, ArtifactError> {
    refuse_pickle(location)?;
    let signature = if is_parquet(location) {
        parquet::look(storage, location)?
    } else {
        tensors::read_header(storage.blocking(), location)?.signature()
    };
    check_signature(&signature, location)
}

/// Reads a dataset and checks its values.
///
/// # Errors
/// As [`look`]; `not_finite`; `label_out_of_range` for a label below zero; `token_out_of_range` for
/// an id below zero that is not masked; `invalid_preprocess`.
pub fn read(
    access: &Access<'_>,
    location: &Location,
    preprocess: Option<&Preprocess>,
) -> Result<(Dataset, InputFile), ArtifactError> {
    // As a specification that names every field has it.
    let preprocess = preprocess.filter(|p| !(p.mean.is_empty() && p.std.is_empty()));
    refuse_pickle(location)?;
    let (file, input) = access.fetch(location)?;
    let checkpoint = if is_parquet(location) {
        parquet::open(&file.path, location)?
    } else {
        tensors::open(&file.path, location)?
    };
    let info = check_signature(&checkpoint.signature(), location)?;
    let labels: Vec<i64> = integers(&checkpoint[LABELS]);
    let of_tokens = checkpoint[LABELS].shape().len() == 2;
    let given: Vec<i64> = labels.iter().copied().filter(|&l| !of_tokens || l != IGNORED).collect();
    check_labels(&given, i64::MAX as usize, location)?;
    if let Some(ids) = checkpoint.get(IDS) {
        if preprocess.is_some() {
            let detail = "token ids have no mean and std; leave preprocess out";
            return Err(ArtifactError::tensor("invalid_preprocess", location, IDS, detail));
        }
        let ids = token_ids(ids, checkpoint.get(MASK), location)?;
        let dataset = if of_tokens {
            Dataset::of_tokens(ids, &labels)
        } else {
            Dataset::from_floats(ids, labels)
        };
        return Ok((dataset, input));
    }
    tensors::check_finite(&only_inputs(&checkpoint), location)?;
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

fn refuse_pickle(location: &Location) -> Result<(), ArtifactError> {
    if !is_pickle(location.name()) {
        return Ok(());
    }
    let detail =
        "is a pickle, which is never opened; turn it into safetensors with `retune convert`";
    Err(ArtifactError::fault("pickle_refused", location, detail))
}

fn is_parquet(location: &Location) -> bool {
    location.name().ends_with(".parquet")
}

fn integers(tensor: &HostTensor) -> Vec<i64> {
    tensor.bytes().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
}

/// Ids as f32, −1 where the mask is 0.
fn token_ids(
    ids: &HostTensor,
    mask: Option<&HostTensor>,
    location: &Location,
) -> Result<HostTensor, ArtifactError> {
    let mut values = integers(ids);
    if let Some(mask) = mask {
        for (at, seen) in integers(mask).into_iter().enumerate() {
            match seen {
                0 => values[at] = -1,
                1 => check_id(at, values[at], location)?,
                _ => {
                    let detail = format!("element {at} is {seen}; it must be 0 or 1");
                    return Err(ArtifactError::tensor("invalid_mask", location, MASK, detail));
                }
            }
        }
    } else {
        for (at, &id) in values.iter().enumerate() {
            check_id(at, id, location)?;
        }
    }
    Ok(HostTensor::from_f32(ids.shape().to_vec(), values.into_iter().map(|id| id as f32).collect()))
}

fn check_id(at: usize, id: i64, location: &Location) -> Result<(), ArtifactError> {
    if (0..LARGEST_ID).contains(&id) {
        return Ok(());
    }
    let detail = format!("element {at} is {id}; ids lie between 0 and {}", LARGEST_ID - 1);
    Err(ArtifactError::tensor("token_out_of_range", location, IDS, detail))
}

fn check_signature(
    signature: &Signature,
    location: &Location,
) -> Result<DatasetInfo, ArtifactError> {
    let fault = |code, tensor: &str, detail: &str| {
        Err(ArtifactError::tensor(code, location, tensor, detail))
    };
    let (name, inputs) = match (signature.get(INPUTS), signature.get(IDS)) {
        (Some(_), Some(_)) => {
            return fault("unexpected_tensor", IDS, "stands beside inputs; give one of them");
        }
        (Some(inputs), None) => (INPUTS, inputs),
        (None, Some(ids)) => (IDS, ids),
        (None, None) => {
            let detail = "is missing: f32 or u8, one row a sample (or input_ids, i64)";
            return fault("missing_tensor", INPUTS, detail);
        }
    };
    let Some(labels) = signature.get(LABELS) else {
        return fault("missing_tensor", LABELS, "is missing: i64, one a sample");
    };
    match (name, inputs.dtype) {
        (IDS, DType::I64) | (INPUTS, DType::F32 | DType::U8) => {}
        (IDS, _) => return fault("wrong_dtype", IDS, "must be I64"),
        _ => return fault("wrong_dtype", INPUTS, "must be F32, or U8 to be scaled by 1/255"),
    }
    if labels.dtype != DType::I64 {
        return fault("wrong_dtype", LABELS, "must be I64");
    }
    let fits = labels.shape.len() == 1 || (name == IDS && labels.shape == inputs.shape);
    let (true, [samples, ..], [rows, sample_shape @ ..]) =
        (fits, &labels.shape[..], &inputs.shape[..])
    else {
        let detail = format!(
            "must be [N] beside {name} [N, …], or as input_ids for a language model, not {:?}",
            labels.shape
        );
        return fault("wrong_shape", LABELS, &detail);
    };
    let samples = *samples;
    if *rows != samples {
        let detail = format!("{samples} labels for {rows} {name}");
        return fault("wrong_shape", LABELS, &detail);
    }
    if samples == 0 {
        return fault("empty_dataset", LABELS, "there is no sample");
    }
    if sample_shape.is_empty() || sample_shape.contains(&0) {
        let detail = format!("has the shape {:?}; a sample needs values", inputs.shape);
        return fault("wrong_shape", name, &detail);
    }
    if name == IDS {
        check_ids_signature(signature, location)?;
    }
    Ok(DatasetInfo { samples, sample_shape: sample_shape.to_vec() })
}

fn check_ids_signature(signature: &Signature, location: &Location) -> Result<(), ArtifactError> {
    let ids = &signature[IDS].shape;
    if ids.len() != 2 {
        let detail = format!("must be [N, S], not {ids:?}");
        return Err(ArtifactError::tensor("wrong_shape", location, IDS, detail));
    }
    match signature.get(MASK) {
        Some(mask) if mask.dtype != DType::I64 => {
            Err(ArtifactError::tensor("wrong_dtype", location, MASK, "must be I64"))
        }
        Some(mask) if mask.shape != *ids => {
            let detail = format!("must be {ids:?} as input_ids are, not {:?}", mask.shape);
            Err(ArtifactError::tensor("wrong_shape", location, MASK, detail))
        }
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn i64s(shape: &[usize], values: &[i64]) -> HostTensor {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        HostTensor::from_bytes(DType::I64, shape.to_vec(), Bytes::from(bytes)).unwrap()
    }

    fn location() -> Location {
        Location::from_uri("file:///data/ids.safetensors").unwrap()
    }

    #[test]
    fn masked_ids_become_minus_one() {
        let ids = i64s(&[2, 2], &[5, 0, 7, -3]);
        let mask = i64s(&[2, 2], &[1, 1, 1, 0]);
        let found = token_ids(&ids, Some(&mask), &location()).unwrap();
        assert_eq!(found.f32().as_ref(), [5.0, 0.0, 7.0, -1.0]);
        assert_eq!(token_ids(&ids, None, &location()).unwrap_err().code(), "token_out_of_range");
        let odd = i64s(&[2, 2], &[1, 1, 2, 0]);
        assert_eq!(token_ids(&ids, Some(&odd), &location()).unwrap_err().code(), "invalid_mask");
    }

    #[test]
    fn headers_of_token_data_are_checked() {
        let code = |tensors: &[(&str, HostTensor)]| {
            let all: Checkpoint =
                tensors.iter().map(|(name, t)| ((*name).to_owned(), t.clone())).collect();
            match check_signature(&all.signature(), &location()) {
                Ok(info) => format!("{:?}", info.sample_shape),
                Err(error) => error.code().to_owned(),
            }
        };
        let labels = || (LABELS, i64s(&[2], &[0, 1]));
        let ids = || (IDS, i64s(&[2, 3], &[0; 6]));
        assert_eq!(code(&[labels(), ids()]), "[3]");
        assert_eq!(code(&[labels(), ids(), (MASK, i64s(&[2, 3], &[1; 6]))]), "[3]");
        assert_eq!(code(&[labels(), ids(), (MASK, i64s(&[2, 2], &[1; 4]))]), "wrong_shape");
        assert_eq!(code(&[labels(), (IDS, i64s(&[2], &[0; 2]))]), "wrong_shape");
        let floats = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);
        assert_eq!(code(&[labels(), (IDS, floats.clone())]), "wrong_dtype");
        assert_eq!(code(&[labels(), ids(), (INPUTS, floats)]), "unexpected_tensor");
        assert_eq!(code(&[labels()]), "missing_tensor");
        let next = |shape: &[usize]| (LABELS, i64s(shape, &vec![-100; shape.iter().product()]));
        assert_eq!(code(&[next(&[2, 3]), ids()]), "[3]");
        assert_eq!(code(&[next(&[2, 2]), ids()]), "wrong_shape");
        let pixels = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);
        assert_eq!(code(&[next(&[2, 3]), (INPUTS, pixels)]), "wrong_shape");
    }
}

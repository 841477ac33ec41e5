//! Labelled samples, as a safetensors file or in Parquet.
//!
//! A safetensors file has `inputs` (f32, or u8 read as value/255) `[N, …]`, or
//! `input_ids` i64 `[N, S]` with an optional `attention_mask` (0: padded) and `token_type_ids`, both i64
//! `[N, S]`; and `labels` i64 `[N]`. A masked id below zero is no token at all: it fills a shorter row up.
//! What else a network could read beside the ids is refused, not dropped. For a language model `labels` are i64 `[N, S]` beside the ids, −100 where nothing is to be
//! predicted; position t predicts the label at t + 1, as Hugging Face has it. A file whose name ends in
//! `.parquet` is read into the same tensors, and so is a folder of such files.

mod parquet;
mod shards;

use crate::{
    contract::spec::Preprocess,
    engine::{
        network::{
            Token,
            token::{ABSENT, IDS as MOST_IDS, TYPES as MOST_TYPES},
        },
        tensors::{Checkpoint, DType, HostTensor, Signature},
        training::{Dataset, cross_entropy::IGNORED},
    },
    storage::{Location, Storage},
};

use super::{Access, InputFile, error::ArtifactError, model::is_pickle, tensors};

const INPUTS: &str = "inputs";
const LABELS: &str = "labels";
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
/// What the libraries' networks read beside the ids and nobody here does.
const UNREAD: [&str; 3] = ["position_ids", "inputs_embeds", "head_mask"];
/// The id that fills a shorter row up, masked.
const NO_TOKEN: i64 = -1;

/// How samples are to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    pub preprocess: Option<&'a Preprocess>,
    /// How the model says that its images are normalised: taken for bytes where `preprocess` is not given
    /// and the channels fit.
    pub stated: Option<&'a Preprocess>,
    /// Of images that are decoded here: as many as the network reads. Without it as the first image has.
    pub channels: Option<usize>,
}

/// What a header says of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    pub samples: usize,
    /// Shape of one sample.
    pub sample_shape: Vec<usize>,
    /// Bytes of its files.
    pub size: u64,
}

/// Looks at a dataset's header; of Parquet at its first rows too. Decoded images will have `channels`.
///
/// # Errors
/// `missing_tensor`, `unexpected_tensor`, `wrong_dtype`, `wrong_shape`, `empty_dataset`, or as
/// `tensors::read_header`, `shards::files` and `parquet::open`.
pub fn look(
    storage: &Storage,
    location: &Location,
    channels: Option<usize>,
) -> Result<DatasetInfo, ArtifactError> {
    refuse_pickle(location)?;
    let files = shards::files(storage, location)?;
    let size = files.iter().try_fold(0u64, |size, file| {
        Ok::<_, ArtifactError>(size.saturating_add(storage.blocking().head(file)?.size))
    })?;

    let look = |file: &Location| {
        if is_parquet(file) {
            return parquet::look(storage, file, channels);
        }
        Ok(tensors::read_header(storage.blocking(), file)?.signature())
    };
    let signatures = files.iter().map(look).collect::<Result<_, _>>()?;
    let signature = shards::joined_signature(location, signatures)?;

    check_signature(&signature, location).map(|info| DatasetInfo { size, ..info })
}

/// Reads a dataset and checks its values.
///
/// # Errors
/// As [`look`]; `not_finite`; `label_out_of_range` for a label below zero; `token_out_of_range` for
/// an id below zero that is not masked; `invalid_preprocess`.
pub fn read(
    access: &Access<'_>,
    location: &Location,
    reading: Reading<'_>,
) -> Result<(Dataset, Vec<InputFile>), ArtifactError> {
    // As a specification that names every field has it.
    let preprocess = reading.preprocess.filter(|p| !(p.mean.is_empty() && p.std.is_empty()));
    refuse_pickle(location)?;
    let (mut inputs_read, mut parts) = (Vec::new(), Vec::new());
    let mut held = 0;
    for place in shards::files(access.storage, location)? {
        let (file, input) = access.fetch(&place)?;
        parts.push(if is_parquet(&place) {
            let part = parquet::open(&file.path, &place, reading.channels)?;
            held += part.iter().map(|(_, tensor)| tensor.bytes().len()).sum::<usize>();
            parquet::check_room(held, location)?;
            part
        } else {
            tensors::open(&file.path, &place)?
        });
        inputs_read.push(input);
    }
    let checkpoint = match <[Checkpoint; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => shards::joined(location, parts)?,
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
        let beside = Beside { mask: checkpoint.get(MASK), types: checkpoint.get(TYPES) };
        let ids = packed_tokens(ids, beside, location)?;
        let dataset = if of_tokens {
            Dataset::of_tokens(ids, &labels)
        } else {
            Dataset::from_floats(ids, labels)
        };
        let has_types = beside.types.is_some();
        let dataset = if has_types { dataset.with_token_types() } else { dataset };
        return Ok((dataset, inputs_read));
    }
    tensors::check_finite(&only_inputs(&checkpoint), location)?;
    let inputs = checkpoint[INPUTS].clone();
    let channels = info.sample_shape[0];
    let stated = reading.stated.filter(|stated| {
        let fits = [1, channels].contains(&stated.mean.len());
        reading.preprocess.is_none() && inputs.dtype() == DType::U8 && fits
    });
    let preprocess = preprocess.or(stated);
    let dataset = if inputs.dtype() == DType::U8 {
        Dataset::from_pixels(inputs, labels)
    } else {
        Dataset::from_floats(inputs, labels)
    };
    Ok((normalised(dataset, preprocess, location)?, inputs_read))
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

/// What may stand beside the ids, in their shape.
#[derive(Clone, Copy, Default)]
struct Beside<'a> {
    mask: Option<&'a HostTensor>,
    types: Option<&'a HostTensor>,
}

/// Tokens as the numbers that [`Token`] packs.
fn packed_tokens(
    ids: &HostTensor,
    beside: Beside<'_>,
    location: &Location,
) -> Result<HostTensor, ArtifactError> {
    let values = integers(ids);
    let mask = beside.mask.map_or_else(|| vec![1; values.len()], integers);
    let types = beside.types.map_or_else(|| vec![0; values.len()], integers);

    let packed = values.into_iter().zip(mask).zip(types).enumerate().map(|(at, row)| {
        let ((id, seen), token_type) = row;
        let masked = match seen {
            0 => true,
            1 => false,
            _ => {
                let detail = format!("element {at} is {seen}; it must be 0 or 1");
                return Err(ArtifactError::tensor("invalid_mask", location, MASK, detail));
            }
        };
        if masked && id < 0 {
            return Ok(ABSENT);
        }
        let id = below(MOST_IDS, id, (IDS, at), location)?;
        let token_type = below(MOST_TYPES, token_type, (TYPES, at), location)?;
        Ok(Token { id, token_type, masked }.packed())
    });
    Ok(HostTensor::from_f32(ids.shape().to_vec(), packed.collect::<Result<_, _>>()?))
}

/// A number from 0 to below `bound`.
fn below(
    bound: u32,
    value: i64,
    (tensor, at): (&str, usize),
    location: &Location,
) -> Result<u32, ArtifactError> {
    u32::try_from(value).ok().filter(|value| *value < bound).ok_or_else(|| {
        let detail = format!("element {at} is {value}; it must lie between 0 and {}", bound - 1);
        ArtifactError::tensor("token_out_of_range", location, tensor, detail)
    })
}

fn check_signature(
    signature: &Signature,
    location: &Location,
) -> Result<DatasetInfo, ArtifactError> {
    let fault = |code, tensor: &str, detail: &str| {
        Err(ArtifactError::tensor(code, location, tensor, detail))
    };
    if let Some(unread) = UNREAD.into_iter().find(|name| signature.contains_key(*name)) {
        let detail = "changes what the network computes, and is not read here; leave it out";
        return fault("unexpected_tensor", unread, detail);
    }
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
    Ok(DatasetInfo { samples, sample_shape: sample_shape.to_vec(), size: 0 })
}

fn check_ids_signature(signature: &Signature, location: &Location) -> Result<(), ArtifactError> {
    let ids = &signature[IDS].shape;
    if ids.len() != 2 {
        let detail = format!("must be [N, S], not {ids:?}");
        return Err(ArtifactError::tensor("wrong_shape", location, IDS, detail));
    }
    for name in [MASK, TYPES] {
        let Some(beside) = signature.get(name) else { continue };
        if beside.dtype != DType::I64 {
            return Err(ArtifactError::tensor("wrong_dtype", location, name, "must be I64"));
        }
        if beside.shape != *ids {
            let detail = format!("must be {ids:?} as input_ids are, not {:?}", beside.shape);
            return Err(ArtifactError::tensor("wrong_shape", location, name, detail));
        }
    }
    Ok(())
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
    fn masked_tokens_keep_their_ids() {
        let ids = i64s(&[2, 2], &[5, 0, 7, -3]);
        let mask = i64s(&[2, 2], &[1, 0, 1, 0]);
        let types = i64s(&[2, 2], &[0, 0, 1, 0]);
        let packed = |mask, types| packed_tokens(&ids, Beside { mask, types }, &location());
        let code = |mask, types| packed(mask, types).unwrap_err().code();

        let found = packed(Some(&mask), Some(&types)).unwrap();
        let typed = (MOST_IDS + 7) as f32;
        assert_eq!(found.f32().as_ref(), [5.0, -1.0, typed, ABSENT]);
        assert_eq!(code(None, None), "token_out_of_range");
        let (odd, too_many) = (i64s(&[2, 2], &[1, 1, 2, 0]), i64s(&[2, 2], &[8, 0, 0, 0]));
        assert_eq!(code(Some(&odd), None), "invalid_mask");
        assert_eq!(code(Some(&mask), Some(&too_many)), "token_out_of_range");
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
        assert_eq!(code(&[labels(), ids(), (TYPES, i64s(&[2, 2], &[1; 4]))]), "wrong_shape");
        assert_eq!(
            code(&[labels(), ids(), (UNREAD[0], i64s(&[2, 3], &[1; 6]))]),
            "unexpected_tensor"
        );
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

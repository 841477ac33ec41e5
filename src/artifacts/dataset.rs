//! Samples, with or without labels, as a safetensors file or in Parquet.
//!
//! A safetensors file has `inputs` (f32, or u8 read as value/255) `[N, …]`, `input_features` f32 `[N, C, L]` of sound, or
//! `input_ids` i64 `[N, S]` with an optional `attention_mask` (0: padded) and `token_type_ids`, both i64
//! `[N, S]`; and `labels`, which may be absent: i64 `[N]`, or what the network's task has
//! ([`LabelForm`]). A masked id below zero is no token at all: it fills a shorter row up.
//! What else a network could read beside the ids is refused, not dropped. For a language model `labels` are i64 `[N, S]` beside the ids, −100 where nothing is to be
//! predicted; position t predicts the label at t + 1, as Hugging Face has it. For a model from sequence to sequence they
//! are i64 `[N, T]`, the target sequences, −100 where they are padded. A file whose name ends in
//! `.parquet` is read into the same tensors, and so is a folder of such files.

mod labels;
mod parquet;
mod shards;
mod signature;
mod tokens;

use crate::{
    contract::{codes::FailureCode, spec::Preprocess},
    engine::{
        tensors::{Checkpoint, DType, HostTensor, Signature},
        training::Dataset,
    },
    storage::{Location, Storage},
};

use super::{Access, InputFile, error::ArtifactError, model::is_pickle, tensors};
use labels::{ENDS, joined_ends};
use signature::check_signature;
use tokens::{Beside, packed_tokens};

pub use labels::LabelForm;

const INPUTS: &str = "inputs";
/// Of sound: log-mel features, `[N, C, L]`.
const FEATURES: &str = "input_features";
const LABELS: &str = "labels";
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
/// What the libraries' networks read beside the ids and nobody here does.
const UNREAD: [&str; 6] = [
    "position_ids",
    "inputs_embeds",
    "head_mask",
    "decoder_input_ids",
    "decoder_attention_mask",
    "decoder_inputs_embeds",
];
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
    pub labels: LabelForm,
}

impl<'a> Reading<'a> {
    /// The normalisation that the job asks for, if any: a specification that names every field has both lists empty.
    fn asked(self) -> Option<&'a Preprocess> {
        self.preprocess
            .filter(|p| !(p.mean.is_empty() && p.std.is_empty()))
    }
}

/// What a header says of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    pub samples: usize,
    /// Shape of one sample.
    pub sample_shape: Vec<usize>,
    pub has_labels: bool,
    /// Labels of a sample, where they are rows.
    pub label_row: Option<usize>,
    pub has_token_types: bool,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes that it will take in memory: what is decoded is held there, what lies in a safetensors file is
    /// read from it.
    pub held: u64,
}

/// Looks at a dataset's header; of Parquet at its first rows too.
///
/// # Errors
/// `missing_tensor`, `unexpected_tensor`, `wrong_dtype`, `wrong_shape`, `empty_dataset`, `invalid_preprocess`, or as
/// `tensors::read_header`, `shards::files` and `parquet::open`.
pub fn look(
    storage: &Storage,
    location: &Location,
    reading: Reading<'_>,
) -> Result<DatasetInfo, ArtifactError> {
    refuse_pickle(location)?;
    let files = shards::files(storage, location)?;
    let size = files.iter().try_fold(0u64, |size, file| {
        Ok::<_, ArtifactError>(size.saturating_add(storage.blocking().head(file)?.size))
    })?;

    let signatures = files.iter().map(|file| {
        if is_parquet(file) {
            return parquet::look(storage, file, reading);
        }
        Ok(tensors::read_header(storage.blocking(), file)?.signature())
    });
    let signatures = signatures.collect::<Result<_, _>>()?;
    let signature = shards::joined_signature(location, signatures, reading.labels)?;
    let signature = reading.labels.joined(signature, location)?;

    let held = held(&signature, files.iter().any(is_parquet));
    let info = check_signature(&signature, reading.labels, location)?;
    check_preprocess(reading, &signature, &info.sample_shape, location)?;

    Ok(DatasetInfo { size, held, ..info })
}

/// Bytes in memory of a dataset with this header.
fn held(signature: &Signature, is_decoded: bool) -> u64 {
    let of_tensors = signature.iter().map(|(name, info)| {
        let values = info
            .shape
            .iter()
            .fold(1, |values: u64, &n| values.saturating_mul(n as u64));
        let bytes = match name.as_str() {
            LABELS => size_of::<i64>(),
            // Packed.
            IDS => size_of::<f32>(),
            INPUTS if is_decoded => info.dtype.size(),
            _ => 0,
        };
        values.saturating_mul(bytes as u64)
    });

    of_tensors.fold(0, u64::saturating_add)
}

/// Reads a dataset and checks its values.
///
/// # Errors
/// As [`look`]; `not_finite`; `label_out_of_range` for a label below zero; `token_out_of_range` for
/// an id below zero that is not masked.
pub fn read(
    access: &Access<'_>,
    location: &Location,
    reading: Reading<'_>,
) -> Result<(Dataset, Vec<InputFile>), ArtifactError> {
    refuse_pickle(location)?;
    let (mut checkpoint, files) = fetched(access, location, reading)?;
    let signature = reading.labels.joined(checkpoint.signature(), location)?;
    let info = check_signature(&signature, reading.labels, location)?;
    check_preprocess(reading, &signature, &info.sample_shape, location)?;
    if info.has_labels
        && let [None, Some(start), Some(end)] =
            [LABELS, ENDS[0], ENDS[1]].map(|name| checkpoint.get(name))
    {
        let both = joined_ends(start, end);
        checkpoint.insert(LABELS, both);
    }

    let tensors = Tensors {
        checkpoint: &checkpoint,
        location,
        reading,
    };
    let dataset = match checkpoint.get(IDS) {
        Some(ids) => tensors.sentences(ids)?,
        None if checkpoint.get(FEATURES).is_some() => tensors.features(info.sample_shape)?,
        None => tensors.arrays(info.sample_shape[0])?,
    };

    Ok((dataset, files))
}

/// The tensors of all files, one after the other, and what was read.
fn fetched(
    access: &Access<'_>,
    location: &Location,
    reading: Reading<'_>,
) -> Result<(Checkpoint, Vec<InputFile>), ArtifactError> {
    let (mut files, mut parts, mut held) = (Vec::new(), Vec::new(), 0);
    for place in shards::files(access.storage, location)? {
        let (file, input) = access.fetch(&place)?;
        parts.push(if is_parquet(&place) {
            let part = parquet::open(&file.path, &place, reading)?;
            held += part
                .iter()
                .map(|(_, tensor)| tensor.bytes().len())
                .sum::<usize>();
            parquet::check_held(held, location)?;
            part
        } else {
            tensors::open(&file.path, &place)?
        });
        files.push(input);
    }

    let checkpoint = match <[Checkpoint; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => shards::joined(location, parts, reading.labels)?,
    };

    Ok((checkpoint, files))
}

/// A dataset's tensors, on their way to samples.
struct Tensors<'a> {
    checkpoint: &'a Checkpoint,
    location: &'a Location,
    reading: Reading<'a>,
}

impl Tensors<'_> {
    fn sentences(self, ids: &HostTensor) -> Result<Dataset, ArtifactError> {
        let beside = Beside {
            mask: self.checkpoint.get(MASK),
            types: self.checkpoint.get(TYPES),
        };
        let has_types = beside.types.is_some();
        let dataset = Dataset::unlabelled(packed_tokens(ids, beside, self.location)?);
        let dataset = self.labelled(dataset)?;

        Ok(if has_types {
            dataset.with_token_types()
        } else {
            dataset
        })
    }

    /// With the labels that there are.
    fn labelled(&self, dataset: Dataset) -> Result<Dataset, ArtifactError> {
        match self.checkpoint.get(LABELS) {
            Some(labels) => self.reading.labels.label(dataset, labels, self.location),
            None => Ok(dataset),
        }
    }

    /// Features as images of one row, a channel for each bin.
    fn features(self, sample_shape: Vec<usize>) -> Result<Dataset, ArtifactError> {
        tensors::check_finite(&only(self.checkpoint, FEATURES), self.location)?;
        let dataset = Dataset::unlabelled(self.checkpoint[FEATURES].clone()).shaped(sample_shape);

        self.labelled(dataset)
    }

    fn arrays(self, channels: usize) -> Result<Dataset, ArtifactError> {
        tensors::check_finite(&only(self.checkpoint, INPUTS), self.location)?;
        let inputs = self.checkpoint[INPUTS].clone();
        let stated = self.reading.stated.filter(|stated| {
            let fits = [1, channels].contains(&stated.mean.len());
            self.reading.preprocess.is_none() && inputs.dtype() == DType::U8 && fits
        });
        let preprocess = self.reading.asked().or(stated);
        let dataset = self.labelled(Dataset::unlabelled(inputs))?;
        let Some(Preprocess { mean, std }) = preprocess else {
            return Ok(dataset);
        };

        let sample_shape = dataset.sample_shape().to_vec();
        dataset
            .normalised(mean, std)
            .ok_or_else(|| wrong_preprocess(&sample_shape, mean.len(), self.location))
    }
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
    let outside = labels
        .iter()
        .position(|label| !usize::try_from(*label).is_ok_and(|l| l < classes));
    let Some(at) = outside else { return Ok(()) };
    let bound = if classes == i64::MAX as usize {
        "must not be negative".to_owned()
    } else {
        format!(
            "must lie between 0 and {}, for the model has {classes} classes",
            classes - 1
        )
    };

    let detail = format!("sample {at} has the label {}; labels {bound}", labels[at]);

    Err(ArtifactError::tensor(
        FailureCode::LabelOutOfRange,
        location,
        LABELS,
        detail,
    ))
}

fn refuse_pickle(location: &Location) -> Result<(), ArtifactError> {
    if !is_pickle(location.name()) {
        return Ok(());
    }
    let detail =
        "is a pickle, which is never opened; turn it into safetensors with `retune convert`";

    Err(ArtifactError::fault(
        FailureCode::PickleRefused,
        location,
        detail,
    ))
}

fn is_parquet(location: &Location) -> bool {
    location.name().ends_with(".parquet")
}

fn integers(tensor: &HostTensor) -> Vec<i64> {
    tensor
        .bytes()
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| i64::from_le_bytes(bytes))
        .collect()
}

fn only(checkpoint: &Checkpoint, name: &str) -> Checkpoint {
    let tensor: HostTensor = checkpoint[name].clone();
    [(name.to_owned(), tensor)].into_iter().collect()
}

/// Refuses means and deviations that samples with these headers do not have.
///
/// # Errors
/// `invalid_preprocess`.
fn check_preprocess(
    reading: Reading<'_>,
    signature: &Signature,
    sample_shape: &[usize],
    location: &Location,
) -> Result<(), ArtifactError> {
    let Some(Preprocess { mean, std }) = reading.asked() else {
        return Ok(());
    };
    let fits = mean.len() == std.len() && [1, sample_shape[0]].contains(&mean.len());
    let (inputs, detail) = if signature.contains_key(IDS) {
        (IDS, "token ids have no mean and std; leave preprocess out")
    } else if signature.contains_key(FEATURES) {
        (
            FEATURES,
            "features of sound have no mean and std; leave preprocess out",
        )
    } else if fits {
        return Ok(());
    } else {
        return Err(wrong_preprocess(sample_shape, mean.len(), location));
    };

    let code = FailureCode::InvalidPreprocess;
    Err(ArtifactError::tensor(code, location, inputs, detail))
}

fn wrong_preprocess(sample_shape: &[usize], given: usize, location: &Location) -> ArtifactError {
    let channels = sample_shape[0];
    let detail = format!(
        "samples of shape {sample_shape:?} need one mean and std, or {channels} of each, not {given}"
    );
    ArtifactError::tensor(FailureCode::InvalidPreprocess, location, INPUTS, detail)
}

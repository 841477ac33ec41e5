//! The tensors of a dataset by their headers.

use super::{DatasetInfo, FEATURES, IDS, INPUTS, LABELS, LabelForm, MASK, TYPES, UNREAD};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::tensors::{DType, Signature, TensorInfo},
    storage::Location,
};

/// What may have a number for every token: what is read, and what tokenizers write that no network reads.
pub(super) const OF_TOKENS: [&str; 7] = [
    IDS,
    MASK,
    TYPES,
    LABELS,
    "offset_mapping",
    "special_tokens_mask",
    "word_ids",
];

pub(super) fn check_signature(
    signature: &Signature,
    form: LabelForm,
    location: &Location,
) -> Result<DatasetInfo, ArtifactError> {
    check_all_read(signature, location)?;
    let (name, inputs) = inputs(signature, location)?;
    check_dtype(name, inputs, location)?;
    let [samples, sample_shape @ ..] = &inputs.shape[..] else {
        let detail = "must be [N, …], one row a sample";
        return Err(ArtifactError::tensor(
            FailureCode::WrongShape,
            location,
            name,
            detail,
        ));
    };

    let labels = signature.get(LABELS);
    match labels {
        Some(labels) => form.check(labels, name, inputs, location)?,
        None => check_no_labels(signature, location)?,
    }

    if *samples == 0 {
        let name = if labels.is_some() { LABELS } else { name };
        return Err(ArtifactError::tensor(
            FailureCode::EmptyDataset,
            location,
            name,
            "there is no sample",
        ));
    }

    if sample_shape.is_empty() || sample_shape.contains(&0) {
        let detail = format!("has the shape {:?}; a sample needs values", inputs.shape);
        return Err(ArtifactError::tensor(
            FailureCode::WrongShape,
            location,
            name,
            detail,
        ));
    }

    if name == IDS {
        check_ids_signature(signature, location)?;
    }
    let sample_shape = if name == FEATURES {
        of_features(&inputs.shape, location)?
    } else {
        sample_shape.to_vec()
    };

    Ok(DatasetInfo {
        samples: *samples,
        sample_shape,
        has_labels: labels.is_some(),
        label_row: labels.and_then(|labels| labels.shape.get(1)).copied(),
        has_token_types: name == IDS && signature.contains_key(TYPES),
        size: 0,
        held: 0,
    })
}

/// Features of sound as an image of one row, a channel for each bin.
fn of_features(shape: &[usize], location: &Location) -> Result<Vec<usize>, ArtifactError> {
    if let &[_, bins, frames] = shape {
        return Ok(vec![bins, 1, frames]);
    }
    let detail = format!("must be [N, C, L], not {shape:?}");
    Err(ArtifactError::tensor(
        FailureCode::WrongShape,
        location,
        FEATURES,
        detail,
    ))
}

/// Refuses what networks read and nobody here does.
fn check_all_read(signature: &Signature, location: &Location) -> Result<(), ArtifactError> {
    let unread = UNREAD
        .into_iter()
        .find(|name| signature.contains_key(*name));
    let Some(unread) = unread else { return Ok(()) };
    let detail = "changes what the network computes, and is not read here; leave it out";

    Err(ArtifactError::tensor(
        FailureCode::UnexpectedTensor,
        location,
        unread,
        detail,
    ))
}

/// The inputs or ids, and their name.
fn inputs<'s>(
    signature: &'s Signature,
    location: &Location,
) -> Result<(&'static str, &'s TensorInfo), ArtifactError> {
    let names = [INPUTS, FEATURES, IDS];
    let mut given = names
        .into_iter()
        .filter_map(|name| Some((name, signature.get(name)?)));
    let Some((name, inputs)) = given.next() else {
        return Err(ArtifactError::tensor(
            FailureCode::MissingTensor,
            location,
            INPUTS,
            "is missing: f32 or u8, one row a sample (or input_ids, i64; or input_features, f32)",
        ));
    };

    match given.next() {
        None => Ok((name, inputs)),
        Some((other, _)) => Err(ArtifactError::tensor(
            FailureCode::UnexpectedTensor,
            location,
            other,
            format!("stands beside {name}; give one of them"),
        )),
    }
}

fn check_dtype(name: &str, inputs: &TensorInfo, location: &Location) -> Result<(), ArtifactError> {
    let (name, detail) = match (name, inputs.dtype) {
        (IDS, DType::I64) | (INPUTS, DType::F32 | DType::U8) | (FEATURES, DType::F32) => {
            return Ok(());
        }
        (IDS, _) => (IDS, "must be I64"),
        (FEATURES, _) => (FEATURES, "must be F32"),
        _ => (INPUTS, "must be F32, or U8 to be scaled by 1/255"),
    };

    Err(ArtifactError::tensor(
        FailureCode::WrongDtype,
        location,
        name,
        detail,
    ))
}

/// Refuses a file without labels that has tensors of other names: they may be its labels.
fn check_no_labels(signature: &Signature, location: &Location) -> Result<(), ArtifactError> {
    let known = [INPUTS, FEATURES, IDS, MASK, TYPES];
    let other = signature
        .keys()
        .find(|name| !known.contains(&name.as_str()));
    let Some(other) = other else { return Ok(()) };
    let detail = "is not read, and there are no labels; rename it to labels if it is these, or leave it out \
                  if the samples have none";

    Err(ArtifactError::tensor(
        FailureCode::UnexpectedTensor,
        location,
        other,
        detail,
    ))
}

fn check_ids_signature(signature: &Signature, location: &Location) -> Result<(), ArtifactError> {
    let ids = &signature[IDS].shape;
    if ids.len() != 2 {
        let detail = format!("must be [N, S], not {ids:?}");
        return Err(ArtifactError::tensor(
            FailureCode::WrongShape,
            location,
            IDS,
            detail,
        ));
    }

    for name in [MASK, TYPES] {
        let Some(beside) = signature.get(name) else {
            continue;
        };
        if beside.dtype != DType::I64 {
            return Err(ArtifactError::tensor(
                FailureCode::WrongDtype,
                location,
                name,
                "must be I64",
            ));
        }
        if beside.shape != *ids {
            let detail = format!("must be {ids:?} as input_ids are, not {:?}", beside.shape);
            return Err(ArtifactError::tensor(
                FailureCode::WrongShape,
                location,
                name,
                detail,
            ));
        }
    }

    let of_tokens = signature
        .iter()
        .filter(|(_, info)| info.dtype == DType::I64 && info.shape == *ids);
    let mut names = of_tokens.map(|(name, _)| name.as_str());
    if let Some(name) = names.find(|name| !OF_TOKENS.contains(name)) {
        let detail = "has a whole number for every token, as what a network reads beside the ids has, and is \
                      not read here; leave it out, or give it its name: attention_mask, token_type_ids, labels";
        return Err(ArtifactError::tensor(
            FailureCode::UnexpectedTensor,
            location,
            name,
            detail,
        ));
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensors::{Checkpoint, HostTensor};

    fn i64s(shape: &[usize], values: &[i64]) -> HostTensor {
        HostTensor::from_i64(shape.to_vec(), values)
    }

    fn location() -> Location {
        Location::from_uri("file:///data/ids.safetensors").unwrap()
    }

    #[test]
    fn rows_of_labels_are_what_the_network_reads() {
        let fits = |row: Option<usize>, form| {
            let shape: Vec<usize> = [2].into_iter().chain(row).collect();
            let size = shape.iter().product();
            let labels = i64s(&shape, &vec![0; size]);
            let all: Checkpoint = [(IDS, i64s(&[2, 3], &[0; 6])), (LABELS, labels)]
                .map(|(name, tensor)| (name.to_owned(), tensor))
                .into_iter()
                .collect();
            check_signature(&all.signature(), form, &location()).is_ok()
        };
        for form in [LabelForm::Classes, LabelForm::OfTokens] {
            assert!(fits(Some(3), form) && fits(None, form) && !fits(Some(2), form));
        }
        let targets = LabelForm::Targets;

        assert!(fits(Some(2), targets) && fits(Some(3), targets) && !fits(None, targets));
    }

    /// The shape of a sample, or the code of the refusal.
    fn code_of(tensors: &[(&str, HostTensor)], form: LabelForm) -> String {
        let all: Checkpoint = tensors
            .iter()
            .map(|(name, t)| ((*name).to_owned(), t.clone()))
            .collect();
        match check_signature(&all.signature(), form, &location()) {
            Ok(info) => format!("{:?}", info.sample_shape),
            Err(error) => error.code().to_string(),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one case after the other")]
    fn headers_of_token_data_are_checked() {
        let code = |tensors: &[(&str, HostTensor)]| code_of(tensors, LabelForm::default());
        let labels = || (LABELS, i64s(&[2], &[0, 1]));
        let ids = || (IDS, i64s(&[2, 3], &[0; 6]));
        assert_eq!(code(&[labels(), ids()]), "[3]");
        assert_eq!(
            code(&[labels(), ids(), (MASK, i64s(&[2, 3], &[1; 6]))]),
            "[3]"
        );
        assert_eq!(
            code(&[labels(), ids(), (MASK, i64s(&[2, 2], &[1; 4]))]),
            "wrong_shape"
        );
        assert_eq!(
            code(&[labels(), ids(), (TYPES, i64s(&[2, 2], &[1; 4]))]),
            "wrong_shape"
        );
        assert_eq!(
            code(&[labels(), ids(), (UNREAD[0], i64s(&[2, 3], &[1; 6]))]),
            "unexpected_tensor"
        );
        let beside = |name, shape: &[usize]| {
            let size = shape.iter().product();
            code(&[labels(), ids(), (name, i64s(shape, &vec![1; size]))])
        };
        assert_eq!(
            beside("segment_ids", &[2, 3]),
            "unexpected_tensor",
            "another name of types"
        );
        assert_eq!(beside("special_tokens_mask", &[2, 3]), "[3]");
        assert_eq!(beside("idx", &[2]), "[3]");
        assert_eq!(code(&[labels(), (IDS, i64s(&[2], &[0; 2]))]), "wrong_shape");
        let floats = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);
        assert_eq!(code(&[labels(), (IDS, floats.clone())]), "wrong_dtype");
        assert_eq!(
            code(&[labels(), ids(), (INPUTS, floats)]),
            "unexpected_tensor"
        );
        assert_eq!(code(&[labels()]), "missing_tensor");
        assert_eq!(code(&[ids()]), "[3]");
        let infos = [ids()]
            .into_iter()
            .map(|(name, t)| (name.to_owned(), t))
            .collect();
        let has_labels =
            |all: Checkpoint| check_signature(&all.signature(), LabelForm::default(), &location());
        assert_eq!(
            code(&[ids(), ("label", i64s(&[2], &[0, 1]))]),
            "unexpected_tensor"
        );
        assert!(
            !has_labels(infos).unwrap().has_labels,
            "labels may be absent"
        );
        let next = |shape: &[usize]| (LABELS, i64s(shape, &vec![-100; shape.iter().product()]));
        assert_eq!(code(&[next(&[2, 3]), ids()]), "[3]");
        assert_eq!(code(&[next(&[2, 2]), ids()]), "wrong_shape");
        assert_eq!(code(&[next(&[2, 0]), ids()]), "wrong_shape");
        assert_eq!(code(&[next(&[2, 3, 1]), ids()]), "wrong_shape");
        let features = |shape: &[usize]| {
            let size = shape.iter().product();
            (
                FEATURES,
                HostTensor::from_f32(shape.to_vec(), vec![0.0; size]),
            )
        };
        let written = |inputs| code_of(&[next(&[2, 4]), inputs], LabelForm::Targets);
        assert_eq!(written(features(&[2, 5, 6])), "[5, 1, 6]");
        assert_eq!(written(features(&[2, 5])), "wrong_shape");
        assert_eq!(
            code(&[next(&[2, 3]), ids(), features(&[2, 5, 6])]),
            "unexpected_tensor"
        );
        let whole = (FEATURES, i64s(&[2, 1, 1], &[0, 1]));
        assert_eq!(written(whole), "wrong_dtype");
        for name in &UNREAD[3..] {
            assert_eq!(beside(name, &[2, 2]), "unexpected_tensor");
        }
        let pixels = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);

        assert_eq!(code(&[next(&[2, 3]), (INPUTS, pixels)]), "wrong_shape");
    }
}

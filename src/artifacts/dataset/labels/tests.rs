//! Labels of each task, and those that are none.

use super::*;

fn place() -> Location {
    Location::from_uri("file:///data/d.safetensors").unwrap()
}

fn samples() -> Dataset {
    Dataset::unlabelled(HostTensor::from_f32(vec![2, 4], vec![0.0; 8]))
}

fn info(dtype: DType, shape: &[usize]) -> TensorInfo {
    TensorInfo {
        dtype,
        shape: shape.to_vec(),
    }
}

#[test]
fn each_task_has_labels_of_its_own_type_and_shape() {
    let code = |form: LabelForm, dtype, shape: &[usize]| {
        let inputs = info(DType::I64, &[2, 4]);
        let found = form.check(&info(dtype, shape), super::super::IDS, &inputs, &place());
        found.err().map(|error| error.code())
    };
    let (dtype, shape) = (Some(FailureCode::WrongDtype), Some(FailureCode::WrongShape));
    for (form, kind, axes, expected) in [
        (LabelForm::Classes, DType::F32, &[2][..], dtype),
        (LabelForm::Classes, DType::I64, &[2, 3], shape),
        (LabelForm::OfTokens, DType::I64, &[2, 4], None),
        (LabelForm::Several, DType::I64, &[2, 3], None),
        (LabelForm::Several, DType::F32, &[2, 3], None),
        (LabelForm::Several, DType::I64, &[2], shape),
        (LabelForm::Several, DType::U8, &[2, 3], dtype),
        (LabelForm::Values, DType::F32, &[2], None),
        (LabelForm::Values, DType::F32, &[2, 3], None),
        (LabelForm::Values, DType::F32, &[2, 0], shape),
        (LabelForm::Values, DType::F32, &[3], shape),
        (LabelForm::Values, DType::I64, &[2], dtype),
        (LabelForm::Ends, DType::I64, &[2, 2], None),
        (LabelForm::Ends, DType::I64, &[2, 3], shape),
    ] {
        assert_eq!(code(form, kind, axes), expected, "{form:?} {axes:?}");
    }
}

#[test]
fn labels_that_are_none_are_refused_and_named() {
    let told = |form: LabelForm, labels: HostTensor| {
        let error = form.label(samples(), &labels, &place()).unwrap_err();
        (error.code(), error.to_string())
    };
    let (code, text) = told(
        LabelForm::Values,
        HostTensor::from_f32(vec![2], vec![1.0, f32::NAN]),
    );
    assert!(
        code == FailureCode::NotFinite && text.contains("sample 1"),
        "{text}"
    );
    let (code, text) = told(
        LabelForm::Several,
        HostTensor::from_f32(vec![2, 2], vec![1.0, 0.0, 0.5, 1.0]),
    );
    let expected = "sample 1 has the label 0.5";
    assert!(
        code == FailureCode::LabelOutOfRange && text.contains(expected),
        "{text}"
    );
    let (code, text) = told(
        LabelForm::Ends,
        HostTensor::from_i64(vec![2, 2], &[0, 1, -100, -100]),
    );
    assert!(
        code == FailureCode::LabelOutOfRange && text.contains("counted from 0"),
        "{text}"
    );
}

#[test]
fn answers_beyond_a_sentence_are_ignored() {
    let labels = HostTensor::from_i64(vec![2, 2], &[1, 3, 4, 9]);
    let found = LabelForm::Ends.label(samples(), &labels, &place()).unwrap();
    assert_eq!(found.labels(), [1, 3, IGNORED, IGNORED]);
    let (start, end) = ([1, 4], [3, 9]);
    let [start, end] = [start, end].map(|ends| HostTensor::from_i64(vec![2], &ends));
    assert_eq!(joined_ends(&start, &end).bytes(), labels.bytes());
}

#[test]
fn both_ends_become_one_tensor() {
    let form = LabelForm::Ends;
    let headers = |names: &[&str]| -> Signature {
        let one = |name: &&str| ((*name).to_owned(), info(DType::I64, &[2]));
        names.iter().map(one).collect()
    };
    let found = form.joined(headers(&ENDS), &place()).unwrap();
    assert_eq!(
        found,
        Signature::from([(LABELS.to_owned(), info(DType::I64, &[2, 2]))])
    );
    let missing = form.joined(headers(&ENDS[..1]), &place()).unwrap_err();
    assert_eq!(missing.code(), FailureCode::MissingTensor);
    let both = form.joined(headers(&[ENDS[0], ENDS[1], LABELS]), &place());
    assert_eq!(both.unwrap_err().code(), FailureCode::UnexpectedTensor);
    // Of another task they are none of its labels.
    let other = LabelForm::Classes.joined(headers(&ENDS), &place()).unwrap();
    assert_eq!(other, headers(&ENDS));
}

//! Logits, losses, gradients and statistics against `PyTorch`'s, computed there in float64
//! (`tests/fixtures/networks/make.py`, `tests/fixtures/pictures/make.py`); logits of transformers, losses and gradients of
//! language models and of other heads (`make.py`, `encoders.py` and `heads.py` of `tests/fixtures/transformers`).

use std::{ops::ControlFlow, path::Path};

use burn::tensor::Device;
use bytes::Bytes;
use safetensors::SafeTensors;

use super::{
    Batch, Dataset, FineTunePlan, Learner, Optimizer, Teacher, Value, cross_entropy::IGNORED,
    dataset::next_labels, testing,
};
use crate::{
    network::{Graph, Input, Naming, SampleSize, Task, Token},
    tensors::{Checkpoint, DType, HostTensor},
};

/// A fixture file: a network, a batch and what `PyTorch` made of it.
struct Reference {
    config: serde_json::Value,
    tensors: Checkpoint,
}

impl Reference {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("a fixture");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("a fixture's header");
        let config = &metadata.metadata().as_ref().expect("metadata")["config"];
        let tensors = SafeTensors::deserialize(&bytes).expect("a fixture");
        let host = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let dtype = match view.dtype() {
                safetensors::Dtype::F32 => DType::F32,
                _ => DType::I64,
            };
            let data = Bytes::copy_from_slice(view.data());
            (
                name,
                HostTensor::from_bytes(dtype, view.shape().to_vec(), data).expect("whole"),
            )
        };

        Self {
            config: serde_json::from_str(config).expect("a configuration"),
            tensors: tensors.tensors().into_iter().map(host).collect(),
        }
    }

    fn part(&self, prefix: &str) -> Checkpoint {
        let strip = |(name, tensor): (&str, &HostTensor)| {
            Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
        };
        self.tensors.iter().filter_map(strip).collect()
    }

    /// The same under the names that a graph has for them.
    fn named(&self, prefix: &str) -> Checkpoint {
        let naming = Naming::of(&self.config, &self.part("param.").signature());
        naming.read(&self.part(prefix))
    }

    /// As the fixture has them.
    fn labels(&self) -> Option<Vec<i64>> {
        let labels = self.tensors.get("label")?;
        Some(labels.f32().iter().map(|&label| label as i64).collect())
    }

    /// As a network of this task has them.
    fn labels_for(&self, task: Task, length: usize) -> Option<Vec<i64>> {
        let labels = self.labels()?;

        Some(match task {
            Task::NextToken => next_labels(&labels, length),
            Task::QuestionAnswering => {
                let ends = labels.into_iter();
                ends.map(|end| if end < length as i64 { end } else { IGNORED })
                    .collect()
            }
            Task::Regression => {
                let values = self.tensors["label"].f32();
                values.iter().map(|&value| Value(value).label()).collect()
            }
            _ => labels,
        })
    }

    fn batch(&self) -> Batch {
        let input = &self.tensors["input"];
        let labels = self.labels().expect("labels");
        let (inputs, sample_shape) = (input.f32().into_owned(), input.shape()[1..].to_vec());
        Batch {
            inputs,
            sample_shape,
            labels,
        }
    }
}

/// The largest difference over the largest value.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    let size = expected
        .iter()
        .map(|v| v.abs())
        .fold(f32::MIN_POSITIVE, f32::max);

    f64::from(difference) / f64::from(size)
}

fn compare(path: &Path) {
    let reference = Reference::read(path);
    let params = reference.named("param.");
    let batch = reference.batch();
    let sample = SampleSize {
        shape: &batch.sample_shape,
        labels: 1,
    };
    let graph = Graph::for_samples(&reference.config, &params.signature(), sample)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let learner = Learner::new(&graph, &params.signature(), Device::flex()).unwrap();
    let logits = learner.predict(&params, &batch);
    let off = relative_error(&logits, &reference.tensors["logits"].f32());
    assert!(off < 1e-4, "{}: logits are {off:e} off", path.display());

    let gradient = learner.gradient(&params, &batch);
    let loss = f64::from(reference.tensors["loss"].f32()[0]);
    assert!(
        (gradient.loss - loss).abs() < 1e-5 * loss,
        "{}: {} and {loss}",
        path.display(),
        gradient.loss
    );
    let expected = reference.named("gradient.");
    assert_eq!(gradient.parts.len(), expected.len());
    // A convolution's bias before a batch norm has no gradient; rounding there is no error.
    let floor = 1e-6 * expected.norm();
    for (name, expected) in expected.iter().filter(|(_, t)| t.inner(t).sqrt() > floor) {
        let off = relative_error(&gradient.parts[name].f32(), &expected.f32());
        assert!(
            off < 1e-4,
            "{}: gradient of {name} is {off:e} off",
            path.display()
        );
    }

    let data = testing::dataset(&batch);
    let renewed = learner.with_statistics(&params, &data, batch.len(), batch.len());

    for (name, expected) in reference.named("statistics.").iter() {
        let off = relative_error(&renewed[name].f32(), &expected.f32());
        assert!(off < 1e-4, "{}: {name} is {off:e} off", path.display());
    }
}

#[test]
fn networks_agree_with_pytorch() {
    compare_all("networks", 3);
}

/// Networks of images as timm and transformers have them.
#[test]
fn pictures_agree_with_pytorch() {
    compare_all("pictures", 47);
}

fn compare_all(folder: &str, least: usize) {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    let folder = Path::new(fixtures).join(folder);
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            compare(&path);
            compared += 1;
        }
    }

    assert!(compared >= least, "{compared}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "every kind of data is read here")]
fn transformers_agree_with_pytorch() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/transformers"
    );
    let (mut compared, mut languages) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "safetensors") {
            continue;
        }
        let reference = Reference::read(&path);
        let params = reference.named("param.");
        let graph = Graph::from_config(&reference.config, &params.signature()).unwrap();
        let learner = Learner::new(&graph, &params.signature(), Device::flex()).unwrap();
        let input = &reference.tensors["input"];
        // -1 stands for the padding's id, which the fixtures pad with, masked.
        let padding = Token {
            id: 1,
            token_type: 0,
            masked: true,
        }
        .packed();
        let is_padded = |id: f32| matches!(graph.input, Input::Tokens { .. }) && id == -1.0;
        let packed = |&id: &f32| if is_padded(id) { padding } else { id };
        let inputs = input.f32().iter().map(packed).collect();
        let sample_shape = input.shape()[1..].to_vec();
        let is_language = graph.task == Task::NextToken;
        let labels = reference.labels_for(graph.task, sample_shape[0]);
        let labels = labels.unwrap_or_else(|| vec![0; input.shape()[0]]);
        let batch = Batch {
            inputs,
            sample_shape,
            labels,
        };
        learner.check(&dataset(&batch)).unwrap();
        if reference.labels().is_some() {
            compare_loss(&reference, &learner, &params, &batch);
        }
        languages += usize::from(is_language);
        let of_tokens = graph.task.is_of_tokens();
        let logits = learner.predict(&params, &batch);
        // What stands at a padded token depends on the padding, and counts nowhere.
        let rows = logits.len()
            / if of_tokens {
                batch.inputs.len()
            } else {
                batch.len()
            };
        let counted = |logits: &[f32]| -> Vec<f32> {
            if graph.target.is_some() {
                return logits.to_vec(); // Nothing is masked there.
            }
            let rows = logits.chunks(rows).zip(&batch.inputs);
            let some = rows.filter(|(_, id)| !of_tokens || **id >= 0.0);
            some.flat_map(|(row, _)| row.to_vec()).collect()
        };
        let off = relative_error(
            &counted(&logits),
            &counted(&reference.tensors["logits"].f32()),
        );
        println!("{}: {off:e}", path.display());
        assert!(off < 1e-4, "{}: logits are {off:e} off", path.display());
        compared += 1;
    }

    assert!(
        compared >= 71 && languages >= 21,
        "{compared} models, {languages} of language"
    );
}

/// The batch as a data set, with as many labels as it has.
fn dataset(batch: &Batch) -> Dataset {
    let shape = [&[batch.len()], &batch.sample_shape[..]].concat();
    let inputs = HostTensor::from_f32(shape, batch.inputs.clone());
    Dataset::unlabelled(inputs).labelled(batch.labels.clone())
}

/// A model's loss, and its gradients where the fixture has them.
fn compare_loss(reference: &Reference, learner: &Learner<'_>, params: &Checkpoint, batch: &Batch) {
    let loss = f64::from(reference.tensors["loss"].f32()[0]);
    let gradient = learner.gradient(params, batch);
    assert!(
        (gradient.loss - loss).abs() < 1e-5 * loss,
        "{} and {loss}",
        gradient.loss
    );
    let expected = reference.named("gradient.");
    // What no output depends on, a key's bias, has no gradient but rounding.
    let rounding = 1e-6 * expected.norm();
    for (name, expected) in expected.iter() {
        let found = &gradient.parts[name];
        if expected.inner(expected).sqrt() <= rounding {
            let size = found.inner(found).sqrt();
            assert!(size <= 10.0 * rounding, "gradient of {name} is {size:e}");
            continue;
        }
        let mut found = found.f32().into_owned();
        if name.contains("embeddings.") {
            leave_padding_out(&mut found, expected);
        }
        let off = relative_error(&found, &expected.f32());
        assert!(
            off < 1e-4,
            "gradient of {name} is {off:e} off in {}",
            reference.config["architectures"]
        );
    }

    assert!(expected.is_empty() || expected.len() == gradient.parts.len());
}

/// `PyTorch` gives the padding's row of a table no gradient by its lookups. Only the ends of an answer, which are
/// chosen among all positions, depend on it.
fn leave_padding_out(found: &mut [f32], expected: &HostTensor) {
    let &[rows, width] = expected.shape() else {
        return;
    };
    let (padding, expected) = (width..2 * width, expected.f32());
    if rows > 2 && expected[padding.clone()].iter().all(|v| *v == 0.0) {
        found[padding].fill(0.0);
    }
}

/// Six full-batch steps with warm-up, clipped gradients, a pull and soft labels
/// (`tests/fixtures/training/make.py`).
#[test]
fn a_touch_up_agrees_with_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/training");
    let reference = Reference::read(&Path::new(path).join("touch_up.safetensors"));
    let (start, teacher) = (reference.part("param."), reference.part("teacher."));
    let graph = Graph::from_config(&reference.config, &start.signature()).unwrap();
    let learner = Learner::new(&graph, &start.signature(), Device::flex()).unwrap();
    // The teacher is of another width.
    let other = Learner::new(&graph, &teacher.signature(), Device::flex()).unwrap();
    let teacher = Teacher {
        learner: &other,
        model: &teacher,
        known: &[],
    };
    let data = testing::dataset(&reference.batch());

    let sgd = (Optimizer::Sgd, 0.5, 0.05, None);
    let adamw = (Optimizer::AdamW, 0.05, 0.5, None);
    let soft = (Optimizer::Sgd, 0.5, 0.0, Some(teacher));
    for (name, (optimizer, rate, pull, teacher)) in
        [("sgd.", sgd), ("adamw.", adamw), ("soft.", soft)]
    {
        let plan = FineTunePlan {
            batch_size: data.len(),
            warmup: 2.0 / 6.0,
            clip: Some(0.02),
            pull,
            teacher,
            ..FineTunePlan::new(optimizer, 6, rate)
        };
        let tuned = learner.fine_tune(&start, &data, &plan, &mut |_| ControlFlow::Continue(()));
        for (tensor, expected) in reference.part(name).iter() {
            let moved = tuned.checkpoint[tensor].minus(&start[tensor]);
            let expected = expected.minus(&start[tensor]);
            let off = relative_error(&moved.f32(), &expected.f32());
            assert!(off < 1e-3, "{name}{tensor}: the update is {off:e} off");
        }
    }
}

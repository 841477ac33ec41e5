//! Images: how many positions a model has for them, and how it normalises bytes.

use bytes::Bytes;
use retune::{
    artifacts::{Access, tensors},
    contract::{codes::FailureCode, spec::Preprocess},
    engine::tensors::{Checkpoint, DType, HostTensor},
    pipeline::{self, Failure},
};
use serde_json::json;

use super::File;
use crate::support::files::TestStorage;

/// A fixture's model as a folder, and data beside it.
struct Judged(TestStorage);

impl Judged {
    fn of(family: &str) -> Self {
        let model = File::read(&format!("transformers/{family}.safetensors"));
        let test = TestStorage::on_files();
        test.write("model/config.json", model.config.to_string());
        test.write(
            "model/model.safetensors",
            tensors::to_bytes(&model.parameters()),
        );
        Self(test)
    }

    fn put_data(&self, inputs: HostTensor) {
        let samples = inputs.shape()[0];
        let labels = (0..samples as i64)
            .map(|label| label % 3)
            .collect::<Vec<_>>();
        let labels = HostTensor::from_i64(vec![samples], &labels);
        let data: Checkpoint = [("inputs".to_owned(), inputs), ("labels".to_owned(), labels)]
            .into_iter()
            .collect();
        self.0.write("data.safetensors", tensors::to_bytes(&data));
    }

    fn loss(&self, preprocess: Option<&Preprocess>) -> Result<f64, Failure> {
        let scratch = self.0.scratch();
        let access = Access {
            storage: &self.0.storage,
            scratch: &scratch,
            go_on: &|| true,
        };
        let (model, data) = (self.0.uri("model/"), self.0.uri("data.safetensors"));
        let found = pipeline::evaluate(access, &model, &data, preprocess, None)?;
        Ok(found["loss"].as_f64().expect("a loss"))
    }
}

/// A table for more patches has another grid: its first rows would be another image's.
#[test]
fn images_of_another_size_than_the_positions_are_refused() {
    for (family, sizes) in [
        ("vit", [[4, 4], [16, 16], [16, 4]]),
        ("timm_vit", [[8, 8], [4, 4], [12, 8]]),
    ] {
        let judged = Judged::of(family);
        for [height, width] in sizes {
            let size = 6 * 3 * height * width;
            judged.put_data(HostTensor::from_f32(
                vec![6, 3, height, width],
                vec![0.1; size],
            ));
            let Err(Failure::Input {
                code,
                pointer,
                detail,
            }) = judged.loss(None)
            else {
                panic!("{family} reads {height} × {width}")
            };
            let found = (code, pointer.as_deref());
            assert_eq!(
                found,
                (FailureCode::WrongInputShape, Some("/data")),
                "{family}: {detail}"
            );
        }
    }
}

/// Hugging Face's `preprocessor_config.json`, timm's `pretrained_cfg`: taken for bytes, where the job
/// says nothing.
#[test]
fn bytes_are_normalised_as_the_model_says() {
    let bytes = |shape: Vec<usize>| {
        let size = shape.iter().product::<usize>();
        let values = (0..size)
            .map(|at| (at * 37 % 251) as u8)
            .collect::<Vec<_>>();
        HostTensor::from_bytes(DType::U8, shape, Bytes::from(values)).expect("whole")
    };
    let mean_and_std = Preprocess {
        mean: vec![0.5, 0.4, 0.3],
        std: vec![0.25, 0.5, 0.2],
    };
    let none = Preprocess {
        mean: vec![0.0],
        std: vec![1.0],
    };

    let judged = Judged::of("vit");
    judged.put_data(bytes(vec![6, 3, 8, 8]));
    let plain = judged.loss(None).expect("read");
    assert_eq!(judged.loss(Some(&none)).expect("read"), plain);
    let expected = judged.loss(Some(&mean_and_std)).expect("read");
    assert!((expected - plain).abs() > 1e-3, "{expected} and {plain}");

    let processor = json!({"do_normalize": true, "rescale_factor": 1.0 / 255.0,
        "image_mean": mean_and_std.mean, "image_std": mean_and_std.std});
    judged
        .0
        .write("model/preprocessor_config.json", processor.to_string());
    assert!((judged.loss(None).expect("read") - expected).abs() < 1e-6);
    assert_eq!(judged.loss(Some(&none)).expect("read"), plain);

    // Floats may be normalised already.
    let values = bytes(vec![6, 3, 8, 8])
        .bytes()
        .iter()
        .map(|&v| f32::from(v) / 255.0)
        .collect();
    judged.put_data(HostTensor::from_f32(vec![6, 3, 8, 8], values));
    assert!((judged.loss(None).expect("read") - plain).abs() < 1e-6);

    let judged = Judged::of("timm_vit");
    judged.put_data(bytes(vec![6, 3, 8, 12]));
    let expected = judged.loss(Some(&mean_and_std)).expect("read");
    let mut config = File::read("transformers/timm_vit.safetensors").config;
    config["pretrained_cfg"] = json!({"mean": mean_and_std.mean, "std": mean_and_std.std});
    judged.0.write("model/config.json", config.to_string());
    assert!((judged.loss(None).expect("read") - expected).abs() < 1e-6);
}

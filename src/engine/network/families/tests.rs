//! Configurations of known networks and of others.

use serde_json::{Value, json};

use super::*;
use crate::tensors::{DType, Signature, TensorInfo};

/// Tensors by name and shape, batch norms as `name` and channels.
pub(super) fn signature(weights: &[(&str, &[usize])], norms: &[(&str, usize)]) -> Signature {
    let info = |shape: &[usize]| TensorInfo {
        dtype: DType::F32,
        shape: shape.to_vec(),
    };
    let mut all: Signature = weights
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), info(shape)))
        .collect();
    for (name, channels) in norms {
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            all.insert(format!("{name}.{suffix}"), info(&[*channels]));
        }
    }
    all
}

#[test]
fn a_configuration_of_no_known_network_is_one_by_names() {
    let name = |config: Value| {
        let graph = Graph::from_config(&config, &Signature::new()).expect("a network by names");
        graph.by_names().map(|network| network.name.clone())
    };
    assert_eq!(name(json!({})).as_deref(), Some("(none)"));
    assert_eq!(
        name(json!({"_class_name": "A", "model": 1})).as_deref(),
        Some("A")
    );
    assert_eq!(
        name(json!({"architecture": "resnext50"})).as_deref(),
        Some("resnext50")
    );
    let choice = json!({"model_type": "bert", "architectures": ["BertForMultipleChoice"]});
    assert_eq!(name(choice).as_deref(), Some("BertForMultipleChoice"));

    let code = |config: Value| {
        Graph::from_config(&config, &Signature::new())
            .expect_err("no such network")
            .code()
    };
    let packed = json!({"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}});
    assert_eq!(code(packed), "wrong_dtype");
    assert_eq!(code(json!({"architecture":"resnet18"})), "missing_tensor");
    assert_eq!(
        code(json!({"model_type": "bert", "new_key": 1})),
        "malformed_config"
    );
    let conv = signature(&[("conv1.weight", &[8, 3, 7, 7])], &[]);
    let config = json!({"architecture":"resnet18","input_size":[64]});
    assert_eq!(
        Graph::from_config(&config, &conv).unwrap_err().code(),
        "malformed_config"
    );
}

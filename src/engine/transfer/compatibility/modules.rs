//! Modules that only some of three models have, where nobody knows their network: heads of tasks.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tensors::Signature;

/// Whether a tuned model may have other modules than a base, by what their configurations call the whole: two
/// models of one class have the same tensors, or one of them is broken.
pub fn may_differ(tuned: &Value, base: &Value) -> bool {
    match (class_of(tuned), class_of(base)) {
        (Some(own), Some(other)) => own != other,
        _ => true,
    }
}

fn class_of(config: &Value) -> Option<&Value> {
    let places = [
        &config["architectures"][0],
        &config["_class_name"],
        &config["architecture"],
    ];
    places.into_iter().find(|value| !value.is_null())
}

/// The tensors of modules that one of the models lacks whole. A module with a number in its name is a block of
/// many: a model that lacks one is another network.
pub fn not_of_all(models: [&Signature; 3]) -> BTreeSet<String> {
    let modules = models.map(modules_of);
    let names: BTreeSet<&String> = models.into_iter().flat_map(Signature::keys).collect();
    let lacking = names.into_iter().filter(|name| {
        let module = modules_above(name)
            .find(|module| modules.iter().any(|of_model| !of_model.contains(module)));
        module.is_some_and(|module| !is_one_of_many(module))
    });
    lacking.cloned().collect()
}

fn modules_of(model: &Signature) -> BTreeSet<&str> {
    model.keys().flat_map(|name| modules_above(name)).collect()
}

/// The modules that a tensor is part of, the outermost first.
fn modules_above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at])
}

fn is_one_of_many(module: &str) -> bool {
    module
        .split('.')
        .any(|part| part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tensors::testing::named as model;

    #[test]
    fn a_head_is_a_module_that_a_model_lacks_and_a_block_is_none() {
        let body = ["model.layers.0.a.weight", "model.norm.weight"];
        let tuned = model(&[&body[..], &["score.0.weight", "model.pooler.dense.bias"]].concat());
        let base = model(&[&body[..], &["lm_head.weight"]].concat());
        let found = not_of_all([&tuned, &base, &base]);
        let expected = [
            "lm_head.weight",
            "model.pooler.dense.bias",
            "score.0.weight",
        ];
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);

        // A block more, a part of a block more, a tensor more of a module that all have.
        for more in [
            "model.layers.1.a.weight",
            "model.layers.0.k_norm.weight",
            "model.norm.bias",
        ] {
            let deeper = model(&[&body[..], &[more]].concat());
            assert_eq!(
                not_of_all([&deeper, &model(&body), &model(&body)]),
                BTreeSet::new(),
                "{more}"
            );
        }
    }

    #[test]
    fn models_of_one_class_have_the_same_modules() {
        let of = |class: &str| json!({"architectures": [class]});
        assert!(!may_differ(&of("A"), &of("A")));
        assert!(may_differ(&of("A"), &of("B")));
        assert!(may_differ(&of("A"), &json!({})));
        assert!(!may_differ(
            &json!({"_class_name": "U"}),
            &json!({"_class_name": "U"})
        ));
    }
}

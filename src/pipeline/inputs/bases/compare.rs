//! Whether old and new have the same tensors, or differ in width alone.

use crate::{
    contract::{
        codes::FailureCode,
        spec::{Method, Methods, Spec},
    },
    engine::{
        network::Graph,
        tensors::Signature,
        transfer::{
            compatibility::{Incompatible, NamedSignature, compare},
            widths::{self, NamedNetwork},
        },
    },
    pipeline::{
        failure::{self, Failure},
        inputs::{Configured, TRAJECTORY},
    },
};

/// Compares the two bases, given as configuration and headers. `None`: they have the same tensors;
/// otherwise the old one's network, which is the new one's but for its width.
///
/// # Errors
/// `incompatible_models`, also where the job's methods do not lead from one width to another.
pub fn at_another_width(
    spec: &Spec,
    old: Configured,
    new: Configured,
) -> Result<Option<Graph>, Failure> {
    let [source, target] = ["the source's base", "the target's base"];
    let Err(different) = compare(
        NamedSignature {
            name: source,
            signature: old.signature,
        },
        NamedSignature {
            name: target,
            signature: new.signature,
        },
    ) else {
        return Ok(None);
    };

    let graphs = [old, new].map(|model| Graph::from_config(model.config, model.signature));
    let [Ok(of), Ok(than)] = graphs else {
        return Err(failure::incompatible("/source/base")(different));
    };

    let narrow = NamedNetwork {
        name: source,
        graph: &of,
        signature: old.signature,
    };
    let wide = NamedNetwork {
        name: target,
        graph: &than,
        signature: new.signature,
    };
    if widths::compare(narrow, wide).is_err() {
        return Err(failure::incompatible("/source/base")(different));
    }

    if let Methods::Named(methods) = &spec.methods
        && let Some(method) = methods.iter().find(|m| !leads_between_widths(**m, spec))
    {
        return Err(between_widths(
            "/methods",
            &different,
            &format!("not {}", method.name()),
        ));
    }

    if spec.data.as_ref().is_none_or(|data| data.train.is_none()) {
        return Err(between_widths(
            "/data/train",
            &different,
            "all need training samples",
        ));
    }
    Ok(Some(of))
}

fn between_widths(pointer: &str, different: &Incompatible, what: &str) -> Failure {
    let detail = format!(
        "{different}. Between widths only functional, bico and theseus carry over (and gradfix on \
         one of them): {what}"
    );
    Failure::Input {
        code: FailureCode::IncompatibleModels,
        pointer: Some(pointer.to_owned()),
        detail,
    }
}

fn leads_between_widths(method: Method, spec: &Spec) -> bool {
    let carries = if method == Method::Gradfix {
        spec.options.gradfix_on
    } else {
        method
    };
    matches!(carries, Method::Functional | Method::Bico | Method::Theseus)
}

/// A tuned model has its base's tensors: the target's too, unless that differs in width.
pub fn same_as_tuned(
    tuned: &Signature,
    base: &Signature,
    target: &Signature,
    across_widths: bool,
) -> Result<(), Failure> {
    let than = if across_widths {
        NamedSignature {
            name: "the source's base",
            signature: base,
        }
    } else {
        NamedSignature {
            name: "the target's base",
            signature: target,
        }
    };
    compare(
        NamedSignature {
            name: "the tuned model",
            signature: tuned,
        },
        than,
    )
    .map_err(failure::incompatible(TRAJECTORY))
}

//! A head that only the tuned model has, and what may be done with it.

use crate::{
    contract::spec::Head,
    engine::{network::Graph, transfer::compatibility::AdoptedHead},
    pipeline::failure::Failure,
};

/// Refuses what cannot be done with a head that is not the model's alone, or is not there.
pub fn check(graph: &Graph, wanted: Head, adopted: Option<&AdoptedHead>) -> Result<(), Failure> {
    let refused = |code, detail: &str| {
        let pointer = Some("/options/head".into());
        Err(Failure::Input { code, pointer, detail: detail.to_owned() })
    };
    if adopted.is_some() && wanted == Head::Keep {
        let detail = "a base has no head of the task, or one of other classes, so that there is none to keep; \
                      \"source\" is what can be done";
        return refused("no_head", detail);
    }
    if graph.head().is_none() && wanted != Head::Transport {
        let detail = "the network's last node has no parameters: it has no output layer to take or to \
                      keep, only \"transport\" is left";
        return refused("no_head", detail);
    }
    if graph.head_is_tied() && wanted != Head::Transport {
        let detail = "the output matrix is the embedding, which belongs to the whole network: it can \
                      only be transported";
        return refused("tied_head", detail);
    }
    Ok(())
}

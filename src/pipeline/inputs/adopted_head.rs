//! A head that only the tuned model has: the bases take it over, and what may be done with it.

use serde_json::Value;

use super::{
    Configured, TRAJECTORY,
    shared_rows::{notes_on_classes, other_classes},
    tuning::Tuning,
};
use crate::{
    artifacts::Model,
    contract::{codes::FailureCode, spec::Head},
    engine::{
        network::{Graph, Naming},
        tensors::Checkpoint,
        transfer::compatibility::AdoptedHead,
    },
    pipeline::failure::{self, Failure},
};

/// The models of a transfer whose bases may lack the head that the tuned one has.
pub struct Headless<'a> {
    pub base: &'a mut Checkpoint,
    pub old_config: &'a Value,
    pub tuning: &'a mut Tuning,
    pub target: &'a mut Model,
    pub naming: &'a mut Naming,
}

impl Headless<'_> {
    /// Gives the bases the head that they lack. `None`: they lack none.
    ///
    /// # Errors
    /// A fault of the tuned model's network.
    pub fn adopt(self) -> Result<Option<AdoptedHead>, Failure> {
        let Self {
            base,
            old_config,
            tuning,
            target,
            naming,
        } = self;
        let last = tuning.last().clone();
        let signatures = [&*base, &target.checkpoint].map(Checkpoint::signature);
        let signature = last.signature();
        let tuned = Configured {
            config: &tuning.config,
            signature: &signature,
        };

        let configs = [old_config, &target.folder.config];
        let other = other_classes(&tuning.config, configs[0], configs[1]);
        let found = AdoptedHead::find(tuned, signatures.each_ref(), configs[1], other);
        let Some(head) = found else { return Ok(None) };
        is_a_network(tuned, &tuning.place)?;

        let bases = [0, 1].map(|i| Configured {
            config: configs[i],
            signature: &signatures[i],
        });
        let notes = notes_on_classes(&head, &tuning.config, bases);
        tuning.notes.extend(notes);
        *base = head.on_old(base, &last);
        target.checkpoint = head.on_new(&target.checkpoint, &last);

        // No head at the start: it is the last one throughout.
        let given = head.tensors.iter().filter(|name| {
            signatures[0]
                .get(*name)
                .is_none_or(|own| own.shape != last[*name].shape())
                || (other.than_old && head.of_other_classes.contains(*name))
        });
        for name in given {
            for checkpoint in &mut tuning.checkpoints {
                checkpoint.insert(name.clone(), last[name].clone());
            }
        }

        target.folder.set_config(head.config.clone());
        *naming = naming.under_own_names();
        Ok(Some(head))
    }
}

/// A head that the bases lack is the tuned model's, and so are its faults.
///
/// # Errors
/// What is wrong with the tuned model's network.
pub fn is_a_network(tuned: Configured, place: &str) -> Result<(), Failure> {
    let fault = failure::graph(TRAJECTORY, place);
    Graph::from_config(tuned.config, tuned.signature)
        .map(|_| ())
        .map_err(fault)
}

/// Refuses what cannot be done with a head that is not the model's alone, or is not there.
pub fn check(graph: &Graph, wanted: Head, adopted: Option<&AdoptedHead>) -> Result<(), Failure> {
    if adopted.is_some() && wanted == Head::Keep {
        let detail = "a base has no head of the task, or one of other classes, so that there is none to keep; \
                      \"source\" is what can be done";
        return Err(refused(FailureCode::NoHead, detail));
    }
    if graph.head().is_none() && wanted != Head::Transport {
        let detail = "the network's last node has no parameters: it has no output layer to take or to \
                      keep, only \"transport\" is left";
        return Err(refused(FailureCode::NoHead, detail));
    }
    if graph.head_is_tied() && wanted != Head::Transport {
        let detail = "the output matrix is the embedding, which belongs to the whole network: it can \
                      only be transported";
        return Err(refused(FailureCode::TiedHead, detail));
    }

    Ok(())
}

fn refused(code: FailureCode, detail: &str) -> Failure {
    let pointer = Some("/options/head".to_owned());
    Failure::Input {
        code,
        pointer,
        detail: detail.to_owned(),
    }
}

//! Whether results can be signed, where the settings want it.

use super::finding::Finding;
use crate::{cli::open_signer, config::Settings};

pub fn look(settings: &Settings) -> Option<Finding> {
    let subject = "signing key";
    match open_signer(&settings.signing) {
        Ok(signer) => signer
            .map(|signer| Finding::ok(subject, format!("signs as {}", signer.public().hint()))),
        Err(error) => {
            let mend =
                "name the file of a private key (EC P-256, PEM) that this user may read, or none";
            Some(Finding::trouble(subject, format!("{error:#}"), mend))
        }
    }
}

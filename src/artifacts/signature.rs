//! Signatures of results, in the format of model-signing 1.0 (the method `key`, on the curve P-256):
//! <https://github.com/sigstore/model-transparency>.
//!
//! `model.sig` is a Sigstore bundle ([`bundle`]): a DSSE envelope with an in-toto statement ([`statement`]) that
//! lists the SHA-256 of each file. It is written like every other file of a result, before the manifest, which lists
//! it. The manifest cannot be one of the signed files then; the statement has its whole content instead, under a
//! name that other programs pass over.
//!
//! Nothing here says that a key is somebody's: who verifies brings the key that he trusts.

mod bundle;
mod key;
mod statement;
mod verify;

pub use key::{KeyError, PublicKey, Signer};
pub use verify::{FileFault, Verification, VerifyError, verify};

use bundle::Bundle;
use statement::Statement;

use crate::contract::manifest::Manifest;

/// The bytes of `model.sig` for a result whose manifest is to be this one; the signature is not yet among its outputs.
pub(super) fn sign(manifest: &Manifest, signer: &Signer) -> serde_json::Result<Vec<u8>> {
    let statement = serde_json::to_vec(&Statement::of(manifest)?)?;
    serde_json::to_vec(&Bundle::sign(&statement, signer))
}

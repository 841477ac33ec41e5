//! The keys of signatures: ECDSA with SHA-256 on the curve P-256, as PEM.

use std::fmt;

use p256::{
    SecretKey,
    ecdsa::{
        DerSignature, SigningKey, VerifyingKey,
        signature::{Signer as _, Verifier as _},
    },
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey, LineEnding},
};

use crate::storage::{Sha256Hex, sha256_of};

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "is no private key of the curve P-256 in PEM, without a passphrase; make one by \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Private,
    #[error(
        "is no public key of the curve P-256 in PEM; `openssl pkey -in KEY -pubout` gives that of a private key"
    )]
    Public,
}

const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----";

/// The private key that results are signed with.
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
}

impl Signer {
    /// A key as `openssl genpkey` (PKCS#8) or `openssl ecparam -genkey` (SEC1) writes it.
    ///
    /// # Errors
    /// [`KeyError::Private`]
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        // `openssl ecparam` may put the parameters of the curve before the key.
        let secret = match text.find(SEC1) {
            Some(start) => SecretKey::from_sec1_pem(&text[start..]).ok(),
            None => SecretKey::from_pkcs8_pem(text).ok(),
        };
        let key = SigningKey::from(secret.ok_or(KeyError::Private)?);
        let public = PublicKey::of(*key.verifying_key()).ok_or(KeyError::Private)?;
        Ok(Self { key, public })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature in DER. The same key and message give the same bytes (RFC 6979).
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.key.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("public", &self.public.hint)
            .finish_non_exhaustive()
    }
}

/// The public key that signatures are checked with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    key: VerifyingKey,
    hint: Sha256Hex,
}

impl PublicKey {
    /// # Errors
    /// [`KeyError::Public`]
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_public_key_pem(text).ok();
        key.and_then(Self::of).ok_or(KeyError::Public)
    }

    fn of(key: VerifyingKey) -> Option<Self> {
        let pem = key.to_public_key_pem(LineEnding::LF).ok()?;
        Some(Self {
            key,
            hint: sha256_of(pem.as_bytes()),
        })
    }

    /// By which a signature names its key: the SHA-256 of the public key as PEM.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    pub(super) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature)
            .is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PKCS8: &str = include_str!("../../../tests/fixtures/signing/pkcs8.pem");
    const SEC1_PARAMETERS: &str = include_str!("../../../tests/fixtures/signing/sec1.pem");
    const PUBLIC: &str = include_str!("../../../tests/fixtures/signing/public.pem");

    #[test]
    fn openssl_writes_one_key_in_two_ways() {
        let public = PublicKey::from_pem(PUBLIC).unwrap();
        assert_eq!(public.hint(), sha256_of(PUBLIC.as_bytes()));
        for pem in [PKCS8, SEC1_PARAMETERS] {
            let signer = Signer::from_pem(pem).unwrap();
            assert_eq!(signer.public().hint(), public.hint());
            let signature = signer.sign(b"message");
            assert_eq!(signature, signer.sign(b"message"));
            assert!(public.accepts(b"message", &signature));
            assert!(!public.accepts(b"massage", &signature));
            assert!(!public.accepts(b"message", &signature[1..]));
        }
    }

    #[test]
    fn what_is_no_key_of_this_kind_is_refused_and_no_key_is_shown() {
        assert_eq!(Signer::from_pem("").unwrap_err(), KeyError::Private);
        assert_eq!(Signer::from_pem(PUBLIC).unwrap_err(), KeyError::Private);
        assert_eq!(PublicKey::from_pem(PKCS8).unwrap_err(), KeyError::Public);
        let other_curve = include_str!("../../../tests/fixtures/signing/p384.pem");
        assert_eq!(
            Signer::from_pem(other_curve).unwrap_err(),
            KeyError::Private
        );
        let shown = format!("{:?}", Signer::from_pem(PKCS8).unwrap());
        assert!(shown.starts_with("Signer { public: \""), "{shown}");
    }
}

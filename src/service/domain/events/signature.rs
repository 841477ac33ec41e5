//! Signatures as Standard Webhooks has them: `v1,` and base64 of HMAC-SHA256 over
//! `<webhook-id>.<webhook-timestamp>.<body>`.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use rand::{TryRngCore, rngs::OsRng};
use sha2::Sha256;

use crate::contract::ids::EventId;

/// Marks a secret for signing, as the libraries expect it.
const MARK: &str = "whsec_";

/// The key of an endpoint's signatures. `Debug` shows nothing of it.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct Secret([u8; 32]);

impl Secret {
    /// Draws a key from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn draw() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 32];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(std::io::Error::other)?;
        Ok(Self(bytes))
    }

    /// A stored key, if it is one.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// What is stored: signing needs the key as it is.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_` and base64, to be handed to its owner once.
    pub fn reveal(&self) -> String {
        format!("{MARK}{}", BASE64_STANDARD.encode(self.0))
    }

    /// One signature: `v1,<base64>`. `timestamp` in seconds since 1970.
    pub fn sign(&self, id: EventId, timestamp: i64, body: &str) -> String {
        // Any length of key is taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// The expected value was computed by
    /// `printf %s <id>.1700000000.{} | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707… -binary | base64`.
    #[test]
    fn a_signature_is_the_one_of_openssl() {
        let secret = Secret([7; 32]);
        assert_eq!(
            secret.reveal(),
            "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
        );
        assert_eq!(
            secret.sign(EventId(Uuid::nil()), 1_700_000_000, "{}"),
            "v1,ZxvsOzYV/OpNsXv3s5jH6WUZOCIv7ONToQakPTt2CAM="
        );
    }

    #[test]
    fn a_key_comes_back_from_the_database_and_is_never_shown() {
        let secret = Secret::draw().unwrap();
        assert_eq!(Secret::from_stored(secret.bytes()), Some(secret.clone()));
        assert_eq!(Secret::from_stored(&secret.bytes()[1..]), None);
        assert_ne!(Secret::draw().unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}

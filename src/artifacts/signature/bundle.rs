//! The file `model.sig`: a Sigstore bundle, version 0.3, with a DSSE envelope.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::key::{PublicKey, Signer};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD: &str = "application/vnd.in-toto+json";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    /// Absent where a certificate or an identity has signed.
    public_key: Option<KeyName>,
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyName {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Signature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

impl Bundle {
    pub fn sign(statement: &[u8], signer: &Signer) -> Self {
        let sig = STANDARD.encode(signer.sign(&pre_authentication(statement)));
        let hint = Some(signer.public().hint().to_owned());
        Self {
            media_type: BUNDLE.into(),
            verification_material: Material {
                public_key: Some(KeyName { hint }),
                tlog_entries: vec![],
            },
            dsse_envelope: Envelope {
                payload: STANDARD.encode(statement),
                payload_type: PAYLOAD.into(),
                signatures: vec![Signature {
                    sig,
                    keyid: String::new(),
                }],
            },
        }
    }

    /// The statement, if this key has signed it. The error says what is wrong.
    pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Vec<u8>, String> {
        let bundle: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("is no Sigstore bundle: {error}"))?;
        let envelope = &bundle.dsse_envelope;
        if bundle.media_type != BUNDLE || envelope.payload_type != PAYLOAD {
            let (bundle, payload) = (&bundle.media_type, &envelope.payload_type);
            return Err(format!(
                "is a {bundle} with {payload}, not a {BUNDLE} with {PAYLOAD}"
            ));
        }

        let Some(name) = &bundle.verification_material.public_key else {
            return Err("was signed by no plain key, but by a certificate or an identity".into());
        };
        if let Some(hint) = name.hint.as_deref().filter(|hint| *hint != key.hint()) {
            return Err(format!(
                "was signed by another key: {hint}, not {}",
                key.hint()
            ));
        }

        let statement = STANDARD.decode(&envelope.payload).ok();
        let [Signature { sig, .. }] = &envelope.signatures[..] else {
            return Err(format!(
                "has {} signatures, not one",
                envelope.signatures.len()
            ));
        };

        let signed = statement.zip(STANDARD.decode(sig).ok());
        signed
            .filter(|(statement, sig)| key.accepts(&pre_authentication(statement), sig))
            .map(|(statement, _)| statement)
            .ok_or_else(|| "has a signature that is not this key's".into())
    }
}

/// What is signed of a payload: DSSE's pre-authentication encoding, version 1.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_has_the_lengths_of_type_and_payload() {
        let expected = b"DSSEv1 28 application/vnd.in-toto+json 2 {}";
        assert_eq!(pre_authentication(b"{}"), expected);
    }

    #[test]
    fn a_bundle_opens_with_its_key_alone() {
        let signer =
            Signer::from_pem(include_str!("../../../tests/fixtures/signing/pkcs8.pem")).unwrap();
        let signed = serde_json::to_value(Bundle::sign(b"{}", &signer)).unwrap();
        let open = |bundle: &serde_json::Value| {
            Bundle::open(bundle.to_string().as_bytes(), signer.public())
        };
        assert_eq!(open(&signed).unwrap(), b"{}");

        let mut other_payload = signed.clone();
        other_payload["dsseEnvelope"]["payload"] = STANDARD.encode("[]").into();
        assert!(open(&other_payload).unwrap_err().contains("not this key's"));
        let mut other_key = signed.clone();
        other_key["verificationMaterial"]["publicKey"]["hint"] = "00".into();
        assert!(
            open(&other_key)
                .unwrap_err()
                .starts_with("was signed by another key: 00")
        );
        let mut certificate = signed;
        certificate["verificationMaterial"] = serde_json::json!({"certificate": {}});
        assert!(open(&certificate).unwrap_err().contains("by a certificate"));
    }
}

//! Signed results: what is signed, and what a signature holds against a folder.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use retune::{
    artifacts::{
        Access, Begun, Card, ResultWriter,
        result::ManifestFacts,
        signature::{PublicKey, Signer, Verification, VerifyError, verify},
    },
    pipeline::Verdict,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::files::TestStorage;

const ID: Uuid = Uuid::from_u128(7);

fn signer() -> Signer {
    Signer::from_pem(include_str!("../fixtures/signing/pkcs8.pem")).unwrap()
}

/// A result of report and card, written and signed.
struct Signed {
    test: TestStorage,
    folder: PathBuf,
}

impl Signed {
    fn fresh() -> Self {
        let test = TestStorage::on_files();
        let scratch = test.scratch();
        let access = Access {
            storage: &test.storage,
            scratch: &scratch,
            go_on: &|| true,
        };
        let output = test.storage.check_location(&test.uri("out")).unwrap();
        let begun = ResultWriter::begin(access, &output, ID).unwrap();
        let Begun::Fresh(mut writer) = begun else {
            panic!("nothing stands there")
        };
        writer.report(&json!({"verdict": "rejected"})).unwrap();
        writer.card(&Card::default()).unwrap();
        let spec = json!({"output": "x"});
        let facts = ManifestFacts {
            id: ID,
            spec: &spec,
            verdict: Verdict::Rejected,
            inputs: &[],
        };
        writer.signed_by(Some(&signer())).finish(facts).unwrap();
        let folder = test.objects().join("out").join(ID.to_string());
        Self { test, folder }
    }

    fn check(&self) -> Result<Verification, VerifyError> {
        self.check_with(signer().public())
    }

    fn check_with(&self, key: &PublicKey) -> Result<Verification, VerifyError> {
        let folder = self
            .test
            .storage
            .check_location(&self.test.uri(&format!("out/{ID}")))
            .unwrap();
        verify(self.test.storage.blocking(), &folder, key)
    }

    fn faults(&self) -> Vec<String> {
        let faults = self.check().unwrap().faults;
        faults
            .iter()
            .map(|fault| format!("{} {}", fault.file, fault.kind))
            .collect()
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join("manifest.json")).unwrap()).unwrap()
    }
}

#[test]
fn a_signed_result_lists_its_signature_and_is_what_was_signed() {
    let signed = Signed::fresh();
    let found = signed.check().unwrap();
    assert_eq!(
        (found.name, found.files, found.faults),
        (ID.to_string(), 2, vec![])
    );

    let outputs = signed.manifest()["outputs"].clone();
    let names: Vec<_> = outputs
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["name"])
        .collect();
    assert_eq!(names, ["README.md", "model.sig", "report.json"]);
    let bytes = fs::read(signed.folder.join("model.sig")).unwrap();
    assert_eq!(outputs[1]["sha256"], retune::storage::sha256_of(&bytes));
    assert_eq!(
        bytes,
        fs::read(Signed::fresh().folder.join("model.sig")).unwrap(),
        "reproducible"
    );
}

#[test]
fn each_file_that_was_changed_is_named() {
    let signed = Signed::fresh();
    fs::write(
        signed.folder.join("report.json"),
        r#"{"verdict": "published"}"#,
    )
    .unwrap();
    fs::remove_file(signed.folder.join("README.md")).unwrap();
    fs::create_dir(signed.folder.join("adapter")).unwrap();
    fs::write(signed.folder.join("adapter/code.py"), "").unwrap();
    let mut manifest = signed.manifest();
    manifest["spec"]["output"] = json!("y");
    fs::write(signed.folder.join("manifest.json"), manifest.to_string()).unwrap();
    // What a hub puts beside a model is nobody's claim.
    fs::write(signed.folder.join(".gitattributes"), "").unwrap();

    let expected = [
        "README.md was signed and is missing",
        "adapter/code.py was not signed",
        "manifest.json is not what was signed",
        "report.json is not what was signed",
    ];
    assert_eq!(signed.faults(), expected);
}

#[test]
fn a_link_hides_no_file_from_the_check() {
    let signed = Signed::fresh();
    let aside = signed.test.objects().join("aside");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("code.py"), "").unwrap();
    symlink(aside.join("code.py"), signed.folder.join("linked.py")).unwrap();
    symlink(&aside, signed.folder.join("linked")).unwrap();
    fs::remove_file(signed.folder.join("report.json")).unwrap();
    symlink(aside.join("code.py"), signed.folder.join("report.json")).unwrap();

    let expected = [
        "linked.py was not signed",
        "linked/code.py was not signed",
        "report.json is not what was signed",
    ];
    assert_eq!(signed.faults(), expected);
}

#[test]
fn another_key_and_no_signature_are_told_apart() {
    let signed = Signed::fresh();
    let other = PublicKey::from_pem(include_str!("../fixtures/signing/other.pem")).unwrap();
    let refused = signed.check_with(&other).unwrap_err().to_string();
    assert!(
        refused.contains("model.sig was signed by another key"),
        "{refused}"
    );

    fs::remove_file(signed.folder.join("model.sig")).unwrap();
    let refused = signed.check().unwrap_err();
    assert!(matches!(refused, VerifyError::Unsigned(_)), "{refused}");
}

#[test]
fn what_model_signing_has_signed_is_accepted() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signing/model");
    let test = TestStorage::on_files();
    for name in [
        "config.json",
        "model.safetensors",
        "model.sig",
        "inner/vocab.txt",
    ] {
        test.write(
            &format!("model/{name}"),
            fs::read(folder.join(name)).unwrap(),
        );
    }
    let place = test.storage.check_location(&test.uri("model")).unwrap();
    let check = || verify(test.storage.blocking(), &place, signer().public()).unwrap();
    assert_eq!(
        (check().name.as_str(), check().files, check().faults),
        ("model", 3, vec![])
    );

    test.write("model/inner/vocab.txt", "other");
    assert_eq!(check().faults[0].file, "inner/vocab.txt");
}

//! Storage on a Hugging Face hub.

mod push;

use std::{fs, process::Command};

use retune::{
    contract::codes::FailureCode,
    storage::{HubConfig, Listing, Location, Storage, StorageConfig, StorageError},
};
use tokio::runtime::Runtime;

use crate::support::hub_server::{Asked, HubServer, TOKEN};

const MODEL: &str = "org/model";

/// A hub with a repository: a small file, large ones, and more entries than a page has.
struct Case {
    runtime: Runtime,
    hub: HubServer,
    weights: Vec<u8>,
    first: String,
}

impl Case {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let hub = HubServer::start(runtime.handle());
        let weights: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        let files: [(&str, &[u8]); 5] = [
            ("config.json", b"{}"),
            ("model.safetensors", &weights),
            ("step 1/config.json", b"{\"step\": 1}"),
            ("step 1/deep/x", b"x"),
            ("tokenizer.json", b"[]"),
        ];
        let first = hub.commit(MODEL, "main", &files);
        Self {
            runtime,
            hub,
            weights,
            first,
        }
    }

    fn storage(&self, config: HubConfig) -> Storage {
        self.rooted("hf://org/", config)
    }

    fn rooted(&self, root: &str, hub: HubConfig) -> Storage {
        let roots = vec![root.to_owned()];
        let config = StorageConfig {
            roots,
            hub,
            ..StorageConfig::default()
        };
        Storage::new(config, self.runtime.handle().clone()).unwrap()
    }

    fn open(&self) -> Storage {
        self.storage(self.hub.config(None))
    }
}

fn names(listing: &Listing) -> (Vec<&str>, Vec<&str>) {
    let files = listing
        .files
        .iter()
        .map(|file| file.location.name())
        .collect();
    (files, listing.folders.iter().map(Location::name).collect())
}

#[test]
fn a_repository_is_a_folder_of_files() {
    let case = Case::new();
    let storage = case.open();
    let blocking = storage.blocking();
    let folder = storage.check_location("hf://org/model").unwrap();
    let listing = blocking.list(&folder).unwrap();
    let expected = (
        vec!["config.json", "model.safetensors", "tokenizer.json"],
        vec!["step 1"],
    );
    assert_eq!(names(&listing), expected);
    assert_eq!(
        names(&blocking.list(&listing.folders[0]).unwrap()),
        (vec!["config.json"], vec!["deep"])
    );

    let step = folder.join("step 1/config.json").unwrap();
    assert_eq!(blocking.read_small(&step, 100).unwrap(), "{\"step\": 1}");
    let weights = folder.child("model.safetensors").unwrap();
    assert_eq!(
        blocking.read_range(&weights, 8..20).unwrap(),
        case.weights[8..20]
    );
    let looked = blocking.head(&weights).unwrap();
    assert_eq!(looked.size, case.weights.len() as u64);
    // Whichever way it is asked for, a file is known by the same mark.
    let listed = listing
        .files
        .iter()
        .find(|file| file.location == weights)
        .unwrap();
    assert_eq!(listed.etag, looked.etag);
    assert_eq!(blocking.head(&step).unwrap().size, 11);

    for missing in ["nothing.json", "step 1/none"] {
        let place = folder.join(missing).unwrap();
        assert!(
            matches!(blocking.head(&place), Err(StorageError::NotFound { .. })),
            "{missing}"
        );
        assert!(!blocking.exists(&place).unwrap());
    }
    assert_eq!(
        blocking.list(&folder.child("none").unwrap()).unwrap(),
        Listing::default()
    );
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let case = Case::new();
    let storage = case.open();
    let scratch = tempfile::tempdir().unwrap();
    let weights = storage
        .check_location("hf://org/model/model.safetensors")
        .unwrap();
    case.hub.be_busy(2);
    case.hub.break_off(1);
    let fetched = storage
        .blocking()
        .fetch(&weights, scratch.path(), &|| true)
        .unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), case.weights);

    let starts: Vec<u64> = case
        .hub
        .asked_of_the_other_host()
        .iter()
        .map(start_of)
        .collect();
    assert!(
        starts.len() == 2 && starts[0] == 0 && starts[1] > 0,
        "the second goes on: {starts:?}"
    );
}

fn start_of(asked: &Asked) -> u64 {
    let range = asked
        .range
        .as_ref()
        .and_then(|range| range.strip_prefix("bytes="));
    range
        .and_then(|range| range.split_once('-')?.0.parse().ok())
        .expect("a range")
}

#[test]
fn a_branch_that_moves_is_read_as_it_was() {
    let case = Case::new();
    let storage = case.open();
    let blocking = storage.blocking();
    let named = storage
        .check_location("hf://org/model@main/config.json")
        .unwrap();
    let pinned = blocking.pin(&named).unwrap();
    assert_eq!(
        pinned.to_string(),
        format!("hf://org/model@{}/config.json", case.first)
    );

    let second = case
        .hub
        .commit(MODEL, "main", &[("config.json", b"{\"new\": 1}")]);
    assert_eq!(blocking.read_small(&pinned, 100).unwrap(), "{}");
    assert_eq!(blocking.read_small(&named, 100).unwrap(), "{\"new\": 1}");
    assert_eq!(
        blocking.pin(&named).unwrap().to_string(),
        format!("hf://org/model@{second}/config.json")
    );
    assert_eq!(blocking.pin(&pinned).unwrap(), pinned);

    // What is read at the name alone, and changes meanwhile, is not what it was.
    let watching = storage.watching();
    watching.blocking().read_small(&named, 100).unwrap();
    case.hub
        .commit(MODEL, "main", &[("config.json", b"{\"new\": 2}")]);
    let changed = watching.blocking().read_small(&named, 100).unwrap_err();
    assert!(matches!(changed, StorageError::Changed { .. }), "{changed}");
}

#[test]
fn a_token_opens_what_is_gated_and_goes_to_the_hub_alone() {
    let case = Case::new();
    case.hub.gate(MODEL);
    let place = "hf://org/model/model.safetensors";
    for (token, advice) in [
        (None, "accept its terms"),
        (Some("hf_of_another"), "accept its terms"),
    ] {
        let storage = case.storage(case.hub.config(token));
        let error = storage
            .blocking()
            .head(&storage.check_location(place).unwrap())
            .unwrap_err();
        assert_eq!(error.code(), FailureCode::StorageDenied);
        assert!(error.to_string().contains(advice), "{error}");
    }

    let storage = case.storage(case.hub.config(Some(TOKEN)));
    let weights = storage.check_location(place).unwrap();
    assert_eq!(
        storage.blocking().read_range(&weights, 0..8).unwrap(),
        case.weights[..8]
    );
    let asked = case.hub.asked_of_the_other_host();
    assert!(
        !asked.is_empty() && asked.iter().all(|asked| asked.token.is_none()),
        "{asked:?}"
    );
}

#[test]
fn what_is_not_there_is_told_from_what_may_not_be_seen() {
    let case = Case::new();
    let storage = case.open();
    let told = |text: &str| {
        let place = storage.check_location(text).unwrap();
        storage.blocking().list(&place).unwrap_err().to_string()
    };
    let error = told("hf://org/none");
    assert!(
        error.contains("no such repository") && error.contains("HF_TOKEN"),
        "{error}"
    );
    let error = told("hf://org/model@v9");
    assert!(error.contains("no such branch, tag or commit"), "{error}");
    let error = told("hf://org");
    assert!(error.contains("hf://organisation/name"), "{error}");

    case.hub.rename("org/old-name", MODEL);
    let renamed = storage
        .check_location("hf://org/old-name/config.json")
        .unwrap();
    assert_eq!(storage.blocking().read_small(&renamed, 100).unwrap(), "{}");

    // The page that sends on is never taken for the file.
    case.hub.rename("org/circle", "org/circle");
    let circle = storage
        .check_location("hf://org/circle/config.json")
        .unwrap();
    for error in [
        storage.blocking().read_small(&circle, 100).unwrap_err(),
        storage.blocking().head(&circle).unwrap_err(),
    ] {
        assert!(
            error.to_string().contains("sends on without an end"),
            "{error}"
        );
    }
}

#[test]
fn data_sets_are_another_kind_and_roots_bind_both() {
    let case = Case::new();
    case.hub.commit(
        "datasets/org/data",
        "refs/convert/parquet",
        &[("default/x.parquet", b"PAR1")],
    );
    let root = "hf://datasets/org/data";
    let storage = case.rooted(root, case.hub.config(None));
    let uri = "hf://datasets/org/data@refs/convert/parquet/default/x.parquet";
    let place = storage.check_location(uri).unwrap();
    assert_eq!(storage.blocking().read_small(&place, 10).unwrap(), "PAR1");
    for outside in [
        "hf://org/data/x",
        "hf://datasets/org/datas/x",
        "hf://datasets/other/data",
    ] {
        assert_eq!(
            storage.check_location(outside).unwrap_err().code,
            FailureCode::LocationNotAllowed,
            "{outside}"
        );
    }
    assert!(case.open().check_location("hf://other/model").is_err());

    // A root at a commit has what is read at that commit; a branch would not have what it is pinned to.
    let pinned = format!("hf://org/model@{}", case.first);
    let storage = case.rooted(&pinned, case.hub.config(None));
    let place = storage
        .check_location(&format!("{pinned}/config.json"))
        .unwrap();
    assert_eq!(
        storage
            .blocking()
            .read_small(&storage.blocking().pin(&place).unwrap(), 9)
            .unwrap(),
        "{}"
    );
    let roots = vec!["hf://org/model@main".to_owned()];
    let config = StorageConfig {
        roots,
        hub: case.hub.config(None),
        ..StorageConfig::default()
    };
    let error = Storage::new(config, case.runtime.handle().clone()).unwrap_err();
    assert!(error.detail.contains("without a revision"), "{error}");
}

#[test]
fn a_hub_is_only_read_from() {
    let case = Case::new();
    let storage = case.open();
    let error = storage.check_output("hf://org/model/out").unwrap_err();
    assert!(
        error.detail.contains("results are not written to a hub"),
        "{error}"
    );
    let place = storage.check_location("hf://org/model/new.json").unwrap();
    assert!(
        storage
            .blocking()
            .publish_bytes(&place, "{}".into())
            .is_err()
    );

    let plain = HubConfig {
        allow_http: false,
        ..case.hub.config(None)
    };
    let error = case
        .storage(plain)
        .check_location("hf://org/model")
        .unwrap_err();
    assert!(error.detail.contains("storage.hub.allow_http"), "{error}");
}

/// What the hub's own library makes of the server that these tests ask: that it is a hub.
#[test]
fn the_hubs_own_library_reads_the_server_of_these_tests() {
    let python = std::env::var("RETUNE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python)
        .args(["-c", "import huggingface_hub"])
        .output();
    if !found.expect("python3 runs").status.success() {
        eprintln!("huggingface_hub is not installed: nothing was tried");
        return;
    }

    let case = Case::new();
    case.hub.gate(MODEL);
    let folder = tempfile::tempdir().unwrap();
    let script = "import sys, huggingface_hub as hub\n\
        print(hub.HfApi().model_info('org/model', revision='main').sha)\n\
        for name in ['config.json', 'model.safetensors', 'step 1/config.json']:\n    \
            hub.hf_hub_download('org/model', name, local_dir=sys.argv[1])\n\
        print(*sorted(e.path for e in hub.HfApi().list_repo_tree('org/model')), sep='|')";
    let run = Command::new(&python)
        .args(["-B", "-c", script])
        .arg(folder.path())
        .env("HF_ENDPOINT", &case.hub.address)
        .env("HF_TOKEN", TOKEN)
        .env("HF_HOME", folder.path().join("home"))
        .output()
        .unwrap();
    let (said, errors) = (
        String::from_utf8(run.stdout).unwrap(),
        String::from_utf8(run.stderr).unwrap(),
    );
    let expected = "config.json|model.safetensors|step 1|tokenizer.json";
    assert_eq!(said, format!("{}\n{expected}\n", case.first), "{errors}");
    assert_eq!(
        fs::read(folder.path().join("model.safetensors")).unwrap(),
        case.weights
    );
    assert_eq!(
        fs::read(folder.path().join("step 1/config.json")).unwrap(),
        b"{\"step\": 1}"
    );
}

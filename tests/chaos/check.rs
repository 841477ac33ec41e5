//! What must hold in the end, judged from what the clients, the database and the store say.

use std::{collections::BTreeMap, fs, path::Path};

use retune::{service::domain::transfers::Status, storage::ATTEMPTS};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Failure,
    case::Expected,
    client::{Book, Submitted, unforgivable},
    store::Store,
};

/// A row of the queue.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Row {
    pub id: Uuid,
    pub idempotency_key: Option<String>,
    pub status: Status,
    pub verdict: Option<String>,
    pub manifest_sha256: Option<String>,
    pub error_code: Option<String>,
    pub error_detail: Option<String>,
    pub attempt: i32,
    /// Events `transfer.succeeded`.
    pub successes: i64,
    /// Events of any end.
    pub ends: i64,
}

/// A folder under the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Of the manifest, where there is one.
    pub manifest_sha256: Option<String>,
    /// Whether the manifest lists a model.
    pub has_model: bool,
    /// What is not as the manifest says.
    pub faults: Vec<String>,
    /// How often a manifest was written there.
    pub manifests: u32,
}

/// All that is judged.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub submitted: Vec<Submitted>,
    pub rows: Vec<Row>,
    pub folders: BTreeMap<String, Folder>,
    pub answers: BTreeMap<String, u64>,
    /// What the faults themselves saw.
    pub complaints: Vec<String>,
}

/// What does not hold, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub lost: Vec<String>,
    pub published_twice: Vec<String>,
    pub other: Vec<String>,
}

impl Judgement {
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl Evidence {
    pub async fn gather(book: &Book, pool: &PgPool, store: &Store) -> Result<Self, Failure> {
        let rows = sqlx::query_as(
            "SELECT t.id, t.idempotency_key, t.status, t.verdict::text, t.manifest_sha256,
                    t.error_code, t.error_detail, t.attempt,
                    count(e.*) FILTER (WHERE e.kind = 'transfer.succeeded') AS successes,
                    count(e.*) FILTER (WHERE e.kind IN
                        ('transfer.succeeded', 'transfer.failed', 'transfer.cancelled')) AS ends
             FROM transfers t LEFT JOIN events e ON e.transfer = t.id
             GROUP BY t.id ORDER BY t.id",
        )
        .fetch_all(pool)
        .await?;
        let folders = results(store)?;
        let (submitted, answers) = (book.submitted(), book.answers());
        Ok(Self {
            submitted,
            rows,
            folders,
            answers,
            complaints: book.complaints(),
        })
    }

    /// Everything that does not hold.
    pub fn judge(&self) -> Judgement {
        let mut judgement = Judgement {
            other: self.complaints.clone(),
            ..Judgement::default()
        };
        for submitted in &self.submitted {
            self.judge_submitted(submitted, &mut judgement);
        }
        if self.rows.len() != self.submitted.len() {
            let (rows, submitted) = (self.rows.len(), self.submitted.len());
            judgement
                .other
                .push(format!("{rows} rows for {submitted} jobs"));
        }
        let known: Vec<String> = self.rows.iter().map(|row| row.id.to_string()).collect();
        for name in self.folders.keys().filter(|name| !known.contains(name)) {
            judgement
                .other
                .push(format!("a folder of no transfer: {name}"));
        }
        for (kind, count) in unforgivable(&self.answers) {
            judgement
                .other
                .push(format!("{count} times the answer {kind}"));
        }
        judgement
    }

    fn judge_submitted(&self, submitted: &Submitted, judgement: &mut Judgement) {
        let key = &submitted.key;
        let of_key: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| row.idempotency_key.as_ref() == Some(key))
            .collect();
        let [row] = of_key[..] else {
            judgement.lost.push(format!("{key}: {} rows", of_key.len()));
            return;
        };
        if submitted.ids.iter().any(|id| *id != row.id) {
            judgement.other.push(format!(
                "{key}: answered as {:?}, stored as {}",
                submitted.ids, row.id
            ));
        }
        if !row.status.is_final() {
            judgement
                .lost
                .push(format!("{key}: {} is still {}", row.id, row.status.name()));
            return;
        }
        let folder = self
            .folders
            .get(&row.id.to_string())
            .cloned()
            .unwrap_or_default();
        if row.successes > 1 || folder.manifests > 1 {
            judgement.published_twice.push(format!(
                "{}: {} events of success, {} manifests written",
                row.id, row.successes, folder.manifests
            ));
        }
        judgement
            .other
            .extend(faults(submitted.expected, row, &folder));
    }
}

/// Whether a transfer ended as it should, with what belongs to such an end.
fn faults(expected: Expected, row: &Row, folder: &Folder) -> Vec<String> {
    let mut faults = folder.faults.clone();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    demand(row.ends == 1, "not one event of its end");
    let refused = match &expected {
        Expected::Failed(code) => Some(std::slice::from_ref(code)),
        Expected::PublishedOr(codes) if row.status == Status::Failed => Some(*codes),
        _ => None,
    };
    if let Some(codes) = refused {
        demand(row.status == Status::Failed, "did not fail");
        let of_these = |code: &str| codes.contains(&code);
        demand(
            row.error_code.as_deref().is_some_and(of_these),
            "failed for another reason",
        );
        demand(
            folder.manifest_sha256.is_none(),
            "failed, and has a manifest",
        );
    } else {
        let rejected = expected == Expected::Rejected;
        let verdict = if rejected { "rejected" } else { "published" };
        demand(row.status == Status::Succeeded, "did not succeed");
        demand(row.successes == 1, "not one event of success");
        demand(
            row.verdict.as_deref() == Some(verdict),
            "has another verdict",
        );
        demand(folder.manifest_sha256.is_some(), "has no manifest");
        demand(
            row.manifest_sha256 == folder.manifest_sha256,
            "has another manifest than it says",
        );
        demand(folder.has_model != rejected, "a model against the verdict");
        demand(folder.manifests == 1, "not one manifest written");
    }
    let about = |fault: String| {
        format!(
            "{} (attempt {}, {}, {:?} {:?}): {fault}",
            row.id,
            row.attempt,
            row.status.name(),
            row.error_code,
            row.error_detail
        )
    };
    faults.into_iter().map(about).collect()
}

/// What lies under the output, by transfer.
pub fn results(store: &Store) -> Result<BTreeMap<String, Folder>, Failure> {
    let (out, written) = (store.bucket().join("chaos/out"), store.manifests());
    let mut folders = BTreeMap::new();
    if out.is_dir() {
        for entry in fs::read_dir(out)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            folders.insert(name, look(&entry.path())?);
        }
    }
    for (name, count) in written {
        folders.entry(name.clone()).or_default().manifests = count;
    }
    Ok(folders)
}

/// Reads a folder and compares it with its manifest.
pub fn look(folder: &Path) -> Result<Folder, Failure> {
    let mut found = Folder::default();
    let place = folder.join("manifest.json");
    if !place.is_file() {
        return Ok(found);
    }
    let bytes = fs::read(place)?;
    found.manifest_sha256 = Some(hex::encode(Sha256::digest(&bytes)));
    let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
        found.faults.push("the manifest is no JSON".into());
        return Ok(found);
    };
    let outputs = manifest["outputs"].as_array().cloned().unwrap_or_default();
    let mut listed = vec!["manifest.json".to_owned()];
    for output in &outputs {
        let name = output["name"].as_str().unwrap_or_default();
        listed.push(name.to_owned());
        let Ok(bytes) = fs::read(folder.join(name)) else {
            found.faults.push(format!("{name} is missing"));
            continue;
        };
        let same = output["size"] == bytes.len()
            && output["sha256"] == hex::encode(Sha256::digest(&bytes));
        if !same {
            found
                .faults
                .push(format!("{name} is not what the manifest says"));
        }
    }
    found.has_model = listed.iter().any(|name| name == "model.safetensors");
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // What attempts leave that were killed, or wrote late, is no file of the result.
        if !listed.contains(&name) && name != ATTEMPTS {
            found.faults.push(format!("{name} is not in the manifest"));
        }
    }
    Ok(found)
}

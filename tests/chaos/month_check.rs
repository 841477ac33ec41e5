//! What must hold at the end of a month.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Failure,
    check::results,
    client::unforgivable,
    month::{FINE_TUNES, NEWEST, may_pass, mode, name},
    receiver::Received,
    world::World,
};

/// A result of a fine-tune.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Version {
    fine_tune: String,
    number: i32,
    base: String,
    verdict: String,
    transfer: uuid::Uuid,
    manifest_sha256: String,
}

/// What there is, and what does not hold.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    pub results: usize,
    pub on_the_newest: usize,
    pub retunes: i64,
    pub transfers: i64,
    pub attempts: i64,
    pub alias_moves: i64,
    pub events: usize,
    pub wrong: Vec<String>,
}

/// Looks at everything.
pub async fn find(
    world: &World,
    received: &Received,
    answers: &BTreeMap<String, u64>,
) -> Result<Finding, Failure> {
    let versions: Vec<Version> = sqlx::query_as(
        "SELECT f.name AS fine_tune, v.number, b.version AS base, v.verdict::text, v.transfer,
                v.manifest_sha256
         FROM fine_tune_versions v JOIN fine_tunes f ON f.id = v.fine_tune
              JOIN base_model_versions b ON b.id = v.base_version",
    )
    .fetch_all(&world.pool)
    .await?;
    let mut finding = counts(world).await?;
    finding.results = versions.len();
    finding.on_the_newest = versions
        .iter()
        .filter(|version| version.base == NEWEST)
        .count();
    let production = production(world).await?;
    for number in 0..FINE_TUNES {
        finding
            .wrong
            .extend(faults_of(number, &versions, &production));
    }
    finding.wrong.extend(promotions(world).await?);
    finding.wrong.extend(folders(world, &versions)?);
    let events: BTreeSet<String> = sqlx::query_scalar::<_, String>("SELECT id::text FROM events")
        .fetch_all(&world.pool)
        .await?
        .into_iter()
        .collect();
    finding.events = events.len();
    let missing = events.difference(&received.events).count();
    if missing > 0 {
        finding
            .wrong
            .push(format!("{missing} events were never delivered"));
    }
    if received.unsound > 0 {
        finding
            .wrong
            .push(format!("{} posts did not verify", received.unsound));
    }
    for (kind, count) in unforgivable(answers) {
        finding
            .wrong
            .push(format!("{count} times the answer {kind}"));
    }
    Ok(finding)
}

async fn counts(world: &World) -> Result<Finding, Failure> {
    let (retunes, transfers, attempts, alias_moves) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM retunes), (SELECT count(*) FROM transfers),
                (SELECT coalesce(sum(attempt), 0) FROM transfers)::bigint,
                (SELECT count(*) FROM fine_tune_alias_moves)",
    )
    .fetch_one(&world.pool)
    .await?;
    Ok(Finding {
        retunes,
        transfers,
        attempts,
        alias_moves,
        ..Finding::default()
    })
}

/// The number of the version in production, by fine-tune.
async fn production(world: &World) -> Result<BTreeMap<String, i32>, Failure> {
    let rows: Vec<(String, i32)> = sqlx::query_as(
        "SELECT f.name, v.number FROM fine_tune_aliases a JOIN fine_tunes f ON f.id = a.fine_tune
              JOIN fine_tune_versions v ON v.id = a.version WHERE a.alias = 'production'",
    )
    .fetch_all(&world.pool)
    .await?;
    Ok(rows.into_iter().collect())
}

/// One result on the newest base, none twice, with the verdict of its gate, in production where the
/// policy says so.
fn faults_of(
    number: usize,
    versions: &[Version],
    production: &BTreeMap<String, i32>,
) -> Vec<String> {
    let name = name(number);
    let own: Vec<&Version> = versions
        .iter()
        .filter(|version| version.fine_tune == name)
        .collect();
    let mut faults = Vec::new();
    let bases: BTreeSet<&str> = own.iter().map(|version| version.base.as_str()).collect();
    if bases.len() != own.len() {
        faults.push(format!("{name} has two results on one base"));
    }
    let wanted = if may_pass(number) {
        "published"
    } else {
        "rejected"
    };
    if own.iter().any(|version| version.verdict != wanted) {
        faults.push(format!("{name} has a verdict against its gate"));
    }
    let Some(newest) = own.iter().find(|version| version.base == NEWEST) else {
        faults.push(format!("{name} has no result on the newest base"));
        return faults;
    };
    let promoted = mode(number) == "promote" && may_pass(number);
    if production.get(&name) != promoted.then_some(&newest.number) {
        faults.push(format!(
            "{name}: {:?} is in production",
            production.get(&name)
        ));
    }
    faults
}

/// Nothing was ever promoted that failed its gate.
async fn promotions(world: &World) -> Result<Vec<String>, Failure> {
    let rejected: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM fine_tune_alias_moves m JOIN fine_tune_versions v ON v.id = m.version
         WHERE v.verdict = 'rejected'",
    )
    .fetch_one(&world.pool)
    .await?;
    Ok((rejected > 0)
        .then(|| format!("{rejected} promotions of what had failed its gate"))
        .into_iter()
        .collect())
}

/// Every result lies whole in the store, was published once, and no other folder claims to be one.
fn folders(world: &World, versions: &[Version]) -> Result<Vec<String>, Failure> {
    let mut folders = results(&world.store)?;
    let mut faults = Vec::new();
    for version in versions {
        let folder = folders
            .remove(&version.transfer.to_string())
            .unwrap_or_default();
        let about = |fault: &str| format!("{} {}: {fault}", version.fine_tune, version.transfer);
        faults.extend(folder.faults.iter().map(|fault| about(fault)));
        if folder.manifest_sha256.as_ref() != Some(&version.manifest_sha256) {
            faults.push(about("has another manifest than it says"));
        }
        if folder.manifests != 1 {
            faults.push(about(&format!(
                "{} manifests were written",
                folder.manifests
            )));
        }
    }
    // A transfer that was superseded while it ran may have written its result a moment before.
    Ok(faults)
}

//! `/models`: base models, fine-tunes with what is in production, and retunes with their counts.

use axum::{extract::State, http::HeaderMap, response::Html};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Frame, PageError, format, render, session};
use crate::{
    contract::ids::RetuneId,
    service::{
        database::{
            base_models, fine_tunes,
            retunes::{self, ListFilter},
        },
        domain::registry::{
            PRODUCTION,
            base_models::BaseModel,
            fine_tunes::FineTune,
            retunes::{Counts, Retune},
        },
        state::AppState,
    },
};

/// The newest of each are shown; the API has them all.
const ROWS: i64 = 50;

#[derive(askama::Template)]
#[template(path = "registry.html", config = "src/service/dashboard/askama.toml")]
struct Page {
    frame: Frame,
    retunes: Vec<RetuneRow>,
    fine_tunes: Vec<FineTuneRow>,
    base_models: Vec<BaseModelRow>,
}

struct RetuneRow {
    id: RetuneId,
    short_id: String,
    status: &'static str,
    status_name: String,
    base: String,
    reason: String,
    bar: format::Bar,
    counts: String,
    created_at: String,
    age: String,
}

struct FineTuneRow {
    name: String,
    base: String,
    trajectory: String,
    trajectory_name: String,
    policy: String,
    production: Option<String>,
    others: String,
}

struct BaseModelRow {
    name: String,
    versions: i64,
    aliases: String,
    licence: String,
}

pub async fn handle(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let caller = session::principal(&state, &headers).await?;
    let (database, tenant) = (&state.database, caller.tenant);
    let filter = ListFilter { limit: ROWS, ..ListFilter::default() };
    let retunes = retunes::list(database, tenant, &filter).await?;
    let fine_tunes = fine_tunes::list(database, tenant, None, None, ROWS).await?;
    let base_models = base_models::list(database, tenant, None, ROWS).await?;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: Frame {
            refresh: 5,
            session: caller.key_id.is_some(),
            ..Frame::still("Models · retune")
        },
        retunes: retunes.iter().map(|one| retune(one, now)).collect(),
        fine_tunes: fine_tunes.iter().map(fine_tune).collect(),
        base_models: base_models.iter().map(base_model).collect(),
    })?)
}

fn retune(retune: &Retune, now: OffsetDateTime) -> RetuneRow {
    let id = retune.id.0.simple().to_string();
    let base = match (&retune.base_model, &retune.base_version) {
        (Some(model), Some(version)) => format!("{model} {version}"),
        _ => "by location".into(),
    };

    let counts = retune.counts;
    let done = counts.succeeded + counts.failed + counts.cancelled;
    RetuneRow {
        id: retune.id,
        short_id: id[id.len() - 8..].to_owned(),
        status: retune.status.name(),
        status_name: format::label(&retune.status),
        base,
        reason: format::label(&retune.reason),
        bar: format::Bar {
            done,
            total: counts.total(),
            label: format!("{done}/{}", counts.total()),
        },
        counts: told(&counts),
        created_at: format::instant(retune.created_at),
        age: format::age(retune.created_at, now),
    }
}

/// `3 succeeded, 1 failed`: what there is.
fn told(counts: &Counts) -> String {
    let named = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.running + counts.cancelling, "running"),
        (counts.queued, "queued"),
    ];

    let told = named.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn fine_tune(fine_tune: &FineTune) -> FineTuneRow {
    let policy = &fine_tune.policy;
    let on = match &policy.alias {
        Some(alias) => format!("{} ({alias})", format::label(&policy.on)),
        None => format::label(&policy.on),
    };

    FineTuneRow {
        name: fine_tune.name.clone(),
        base: format!("{} {}", fine_tune.base_model, fine_tune.base_version),
        trajectory_name: format::last_part(&fine_tune.trajectory),
        trajectory: fine_tune.trajectory.clone(),
        policy: format!("{}: {on}", format::label(&policy.mode)),
        production: fine_tune.aliases.get(PRODUCTION).map(ToString::to_string),
        others: aliases(&fine_tune.aliases, PRODUCTION),
    }
}

fn base_model(model: &BaseModel) -> BaseModelRow {
    BaseModelRow {
        name: model.name.clone(),
        versions: model.versions,
        aliases: aliases(&model.aliases, ""),
        licence: model.licence.clone().unwrap_or_else(|| format::ABSENT.into()),
    }
}

/// `canary 3, stable 2`, without one of them.
fn aliases(aliases: &Value, without: &str) -> String {
    let Some(aliases) = aliases.as_object() else { return String::new() };
    let shown = aliases.iter().filter(|(alias, _)| *alias != without).map(|(alias, version)| {
        let version = version.as_str().map_or_else(|| version.to_string(), ToOwned::to_owned);
        format!("{alias} {version}")
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_and_aliases_are_told_in_words() {
        let counts = Counts { succeeded: 3, cancelling: 1, running: 1, ..Counts::default() };
        assert_eq!(told(&counts), "3 succeeded, 2 running");
        assert_eq!(told(&Counts::default()), "");
        assert_eq!(aliases(&json!({"production": 2, "canary": 3}), "production"), "canary 3");
        assert_eq!(aliases(&json!({"stable": "1.2"}), ""), "stable 1.2");
    }
}

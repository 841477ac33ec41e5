//! `/fine-tunes/{name}`: its versions, where its aliases stand and have stood.

use axum::{
    extract::{Path, State},
    response::Html,
};
use serde_json::Value;
use time::OffsetDateTime;

use super::list::{aliases, policy, protects_production, stale};
use crate::{
    contract::ids::{TenantId, TransferId},
    service::{
        dashboard::{
            action::Action,
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::{
            Database,
            fine_tunes::{
                self,
                aliases::moves::{self, NamedAlias},
                standing, versions,
            },
        },
        domain::{
            access::Role,
            registry::{
                PRODUCTION,
                fine_tunes::{
                    Direction, FineTune, FineTuneAliasMove, FineTuneVersion, VersionState,
                },
            },
        },
        state::AppState,
    },
};

/// The newest are shown; the API has them all.
const VERSIONS: i64 = 100;
const MOVES: i64 = 20;

#[derive(askama::Template)]
#[template(
    path = "fine_tunes/page.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    name: String,
    stale: String,
    base_model: String,
    base_version: String,
    production: Option<i32>,
    /// Only administrators move `production`.
    protected: bool,
    /// Protects it, or ends that.
    protection: Option<Action>,
    others: String,
    policy: String,
    retires: Option<String>,
    trajectory: String,
    acts: bool,
    versions: Vec<Row>,
    moves: Vec<Move>,
    spec: String,
}

struct Row {
    number: i32,
    transfer: TransferId,
    production: bool,
    state: String,
    class: &'static str,
    base: String,
    method: String,
    score: String,
    aliases: Vec<String>,
    created_at: String,
    age: String,
    actions: Vec<Action>,
}

struct Move {
    alias: String,
    text: String,
    at: String,
    day: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Html<String>, PageError> {
    let (database, tenant) = (&state.database, visitor.principal.tenant);
    let found = fine_tunes::get(database, tenant, &name.replace('\0', "")).await?;
    let fine_tune = found.ok_or(PageError::NotFound)?;
    let versions = versions::list(database, tenant, &fine_tune.name, None, VERSIONS).await?;
    let moves = moved(database, tenant, &fine_tune).await?;
    let standings = standing::list(database, tenant, Some(&fine_tune.base_model), i64::MAX).await?;
    let standing = standings
        .into_iter()
        .find(|standing| standing.fine_tune == fine_tune.name);
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::FineTunes, &fine_tune.name).every(5),
        stale: standing.as_ref().map(stale).unwrap_or_default(),
        retires: standing
            .as_ref()
            .and_then(|one| one.retires_at)
            .map(format::day),
        production: standing.and_then(|one| one.production),
        protected: protects_production(&fine_tune),
        protection: protection(&visitor, &fine_tune),
        others: aliases(&fine_tune.aliases, PRODUCTION),
        policy: policy(&fine_tune),
        acts: visitor.may(Role::Submit),
        versions: versions
            .iter()
            .map(|one| Row::of(&visitor, &fine_tune, one, now))
            .collect(),
        moves: moves.into_iter().map(Move::from).collect(),
        spec: spec(&fine_tune),
        base_model: fine_tune.base_model,
        base_version: fine_tune.base_version,
        trajectory: fine_tune.trajectory,
        name: fine_tune.name,
    })?)
}

/// The last moves of every alias, newest first.
async fn moved(
    database: &Database,
    tenant: TenantId,
    fine_tune: &FineTune,
) -> Result<Vec<FineTuneAliasMove>, sqlx::Error> {
    let mut all = Vec::new();
    for alias in fine_tune
        .aliases
        .as_object()
        .into_iter()
        .flatten()
        .map(|(alias, _)| alias)
    {
        let named = NamedAlias {
            fine_tune: &fine_tune.name,
            alias,
        };
        all.extend(moves::list(database, tenant, named, None, MOVES).await?);
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.moved_at));
    Ok(all)
}

fn spec(fine_tune: &FineTune) -> String {
    let job = serde_json::json!({"data": fine_tune.data, "spec": fine_tune.spec});
    serde_json::to_string_pretty(&job).unwrap_or_default()
}

impl Row {
    fn of(
        visitor: &Visitor,
        fine_tune: &FineTune,
        one: &FineTuneVersion,
        now: OffsetDateTime,
    ) -> Self {
        let aliases = standing_on(&fine_tune.aliases, one.version);
        let production = aliases.iter().any(|alias| alias == PRODUCTION);
        Self {
            number: one.version,
            transfer: one.transfer,
            production,
            state: format::label(&one.state),
            class: match one.state {
                VersionState::Published => "succeeded",
                VersionState::Rejected => "failed",
                VersionState::Proposed => "paused",
            },
            base: one
                .base_version
                .clone()
                .unwrap_or_else(|| format::last_part(&one.target_base)),
            method: one.method.as_deref().map(format::words).unwrap_or_default(),
            score: format::outcome(&one.metrics).unwrap_or_else(|| format::ABSENT.into()),
            actions: actions(visitor, fine_tune, one, production),
            aliases,
            created_at: format::instant(one.created_at),
            age: format::age(one.created_at, now),
        }
    }
}

/// The aliases that stand on a version.
fn standing_on(aliases: &Value, version: i32) -> Vec<String> {
    let all = aliases.as_object().into_iter().flatten();
    let here = all.filter(|(_, number)| number.as_i64() == Some(version.into()));
    here.map(|(alias, _)| alias.clone()).collect()
}

/// The button of administrators.
fn protection(visitor: &Visitor, fine_tune: &FineTune) -> Option<Action> {
    let place = format!("/fine-tunes/{}", fine_tune.name);
    let action = if protects_production(fine_tune) {
        Action::new(
            visitor,
            "Unprotect production",
            format!("{place}/unprotect"),
        )
        .asking("everyone who may submit moves production again, and policies do.")
    } else {
        Action::new(visitor, "Protect production", format!("{place}/protect")).asking(
            "only administrators move production then; results that would move it wait for one.",
        )
    };
    visitor.may(Role::Admin).then_some(action)
}

/// What failed its gate goes nowhere; what is in production goes back. A protected alias is moved by
/// administrators alone.
fn actions(
    visitor: &Visitor,
    fine_tune: &FineTune,
    one: &FineTuneVersion,
    production: bool,
) -> Vec<Action> {
    let mover = if protects_production(fine_tune) {
        Role::Admin
    } else {
        Role::Submit
    };
    if !visitor.may(mover) || one.state == VersionState::Rejected {
        return Vec::new();
    }

    let place = format!("/fine-tunes/{}/versions/{}", fine_tune.name, one.version);
    let about = format!("version {}", one.version);
    let action = if production {
        Action::new(visitor, "Roll back", format!("{place}/rollback"))
            .asking("production goes back to where it stood before this version.")
    } else {
        Action::new(visitor, "Promote", format!("{place}/promote")).asking(format!(
            "production moves to version {}, and consumers with it.",
            one.version
        ))
    };
    vec![action.about(about)]
}

impl From<FineTuneAliasMove> for Move {
    fn from(one: FineTuneAliasMove) -> Self {
        let how = match one.direction {
            Direction::Promoted => "promoted to",
            Direction::RolledBack => "rolled back to",
        };
        let from = one
            .previous
            .map(|previous| format!(", from {previous}"))
            .unwrap_or_default();
        Self {
            text: format!("{how} version {}{from}", one.version),
            alias: one.alias,
            at: format::instant(one.moved_at),
            day: format::day(one.moved_at),
        }
    }
}

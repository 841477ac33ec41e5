//! `/base-models/{name}`: versions, lineage, what was tuned from it and what was announced.

use axum::{
    extract::{Path, State},
    response::Html,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    lineage::{self, Lineage},
    list::aliases,
};
use crate::{
    contract::ids::RetuneId,
    service::{
        dashboard::{
            action::Action,
            error::PageError,
            fine_tunes::stale,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::{
            arrivals::{self, ListFilter},
            base_models::{self, versions},
            fine_tunes::{
                lineage as made,
                standing::{self, Standing},
            },
        },
        domain::{
            access::Role,
            registry::{
                arrivals::{Arrival, ArrivalStatus},
                base_models::{BaseModel, BaseVersion},
                cards::SuccessorPolicy,
            },
        },
        state::AppState,
    },
};

/// The newest are shown; the API has them all.
const VERSIONS: i64 = 50;
const FINE_TUNES: i64 = 200;
const ARRIVALS: i64 = 10;
/// What retires within so many days is marked.
const SOON: Duration = Duration::days(30);

#[derive(askama::Template)]
#[template(
    path = "base_models/page.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    name: String,
    description: String,
    newest: String,
    aliases: String,
    licence: String,
    successors: &'static str,
    behind: usize,
    lineage: Option<Lineage>,
    acts: bool,
    versions: Vec<Row>,
    standings: Vec<Tuned>,
    arrivals: Vec<Announced>,
}

struct Row {
    version: String,
    parent: String,
    aliases: Vec<String>,
    uri: String,
    digest: String,
    size: String,
    retires: String,
    soon: bool,
    retune: Option<RetuneId>,
    created_at: String,
    age: String,
    carry: Action,
}

struct Tuned {
    name: String,
    from: String,
    production: Option<i32>,
    stands_on: String,
    stale: String,
}

struct Announced {
    version: String,
    status: String,
    class: &'static str,
    reason: String,
    age: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Html<String>, PageError> {
    let (database, tenant) = (&state.database, visitor.principal.tenant);
    let found = base_models::get(database, tenant, &name.replace('\0', "")).await?;
    let model = found.ok_or(PageError::NotFound)?;
    let versions = versions::list(database, tenant, &model.name, None, VERSIONS).await?;
    let standings = standing::list(database, tenant, Some(&model.name), FINE_TUNES).await?;
    let points = made::list(database, tenant, &model.name).await?;
    let filter = ListFilter {
        limit: ARRIVALS,
        ..ListFilter::default()
    };
    let arrivals = arrivals::list(database, tenant, &model.name, &filter).await?;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::BaseModels, &model.name).every(10),
        newest: versions
            .first()
            .map_or_else(|| format::ABSENT.into(), |one| one.version.clone()),
        aliases: aliases(&model.aliases),
        successors: successors(model.successors),
        behind: standings.iter().filter(|one| one.is_stale).count(),
        lineage: lineage::draw(&versions, &standings, &points),
        acts: visitor.may(Role::Submit),
        versions: versions
            .iter()
            .map(|one| Row::of(&visitor, &model, one, now))
            .collect(),
        standings: standings.into_iter().map(Tuned::from).collect(),
        arrivals: arrivals
            .into_iter()
            .map(|one| Announced::of(one, now))
            .collect(),
        description: model.description.unwrap_or_default(),
        licence: model.licence.unwrap_or_else(|| format::ABSENT.into()),
        name: model.name,
    })?)
}

/// What becomes of a repository that a card on a hub names as the next one.
fn successors(policy: SuccessorPolicy) -> &'static str {
    match policy {
        SuccessorPolicy::Ignore => "ignored",
        SuccessorPolicy::Propose => "proposed",
        SuccessorPolicy::Follow => "registered at once",
    }
}

impl Row {
    fn of(visitor: &Visitor, model: &BaseModel, one: &BaseVersion, now: OffsetDateTime) -> Self {
        let standing = model.aliases.as_object().into_iter().flatten();
        let standing = standing.filter(|(_, version)| version.as_str() == Some(&one.version));
        let question = format!(
            "Every fine-tune of {} that is not there yet is carried onto {}.",
            model.name, one.version
        );
        let carry = Action::new(visitor, "Carry onto it", "/retunes".into())
            .asking(question)
            .about(one.version.clone())
            .keyed(&one.version)
            .with("base_model", model.name.clone())
            .with("version", one.version.clone())
            .with("once", Uuid::new_v4().to_string());

        Self {
            version: one.version.clone(),
            parent: one.parent.clone().unwrap_or_else(|| format::ABSENT.into()),
            aliases: standing.map(|(alias, _)| alias.clone()).collect(),
            uri: one.uri.clone(),
            digest: one.digest.clone(),
            size: format::bytes(one.size.unsigned_abs()),
            retires: one
                .retires_at
                .map_or_else(|| format::ABSENT.into(), format::day),
            soon: one.retires_at.is_some_and(|end| end < now + SOON),
            retune: one.retune,
            created_at: format::instant(one.created_at),
            age: format::age(one.created_at, now),
            carry,
        }
    }
}

impl From<Standing> for Tuned {
    fn from(standing: Standing) -> Self {
        Self {
            stale: stale(&standing),
            name: standing.fine_tune,
            from: standing.tuned_from,
            production: standing.production,
            stands_on: standing.stands_on.unwrap_or_else(|| "a location".into()),
        }
    }
}

impl Announced {
    fn of(arrival: Arrival, now: OffsetDateTime) -> Self {
        Self {
            version: arrival.version,
            status: format::label(&arrival.status),
            class: match arrival.status {
                ArrivalStatus::Registered | ArrivalStatus::Known => "succeeded",
                ArrivalStatus::Waiting => "running",
                ArrivalStatus::Proposed => "paused",
                ArrivalStatus::Ignored => "queued",
                ArrivalStatus::Failed => "failed",
            },
            reason: arrival.reason.unwrap_or_default(),
            age: format::age(arrival.announced_at, now),
        }
    }
}

//! `/keys`: who may call. A key's secret is shown once, by the answer that makes it.

use axum::{
    extract::{Path, State},
    http::Method,
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    contract::ids::KeyId,
    service::{
        dashboard::{
            Pages,
            action::Action,
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            through_api::Change,
            visit::{Administrator, Visitor, forms::Posted},
        },
        database::api_keys,
        domain::access::ApiKey,
        state::AppState,
    },
};

/// The newest are shown; the API has them all.
const ROWS: i64 = 200;

#[derive(askama::Template)]
#[template(
    path = "operations/keys.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    open: bool,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    role: String,
    prefix: String,
    state: String,
    class: &'static str,
    own: bool,
    created_at: String,
    age: String,
    revoke: Option<Action>,
}

/// A secret that is shown this once.
#[derive(askama::Template)]
#[template(
    path = "operations/made.html",
    config = "src/service/dashboard/askama.toml"
)]
struct MadePage {
    frame: Frame,
    heading: String,
    what: String,
    secret: String,
    back: String,
}

/// What was made, and what its secret is for.
pub struct Made {
    pub section: Section,
    pub heading: String,
    pub what: String,
    pub secret: String,
    pub back: String,
}

/// The page with the secret. It is the answer to the form itself: nothing of it is kept to be shown again.
pub fn made(visitor: &Visitor, made: Made) -> Result<Response, PageError> {
    let Made {
        section,
        heading,
        what,
        secret,
        back,
    } = made;
    let frame = visitor.frame(section, &heading);
    Ok(render(&MadePage {
        frame,
        heading,
        what,
        secret,
        back,
    })?
    .into_response())
}

pub async fn handle(
    State(state): State<AppState>,
    Administrator(visitor): Administrator,
) -> Result<Html<String>, PageError> {
    let tenant = visitor.principal.tenant;
    let found = api_keys::list(&state.database, tenant, None, ROWS).await?;
    let now = OffsetDateTime::now_utc();

    Ok(render(&Page {
        frame: visitor.frame(Section::Keys, "Keys"),
        open: visitor.principal.key_id.is_none(),
        rows: found
            .into_iter()
            .map(|key| Row::of(&visitor, key, now))
            .collect(),
    })?)
}

pub async fn create(
    State(pages): State<Pages>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, PageError> {
    let ends = posted.given("ends").map(|day| format!("{day}T00:00:00Z"));
    let mut body = json!({"name": posted.text("name"), "role": posted.text("role")});
    if let Some(ends) = ends {
        body["expires_at"] = ends.into();
    }

    let key = pages
        .api
        .ask(&posted, Change::post("/v1/api_keys").with(body))
        .await?;
    made(
        &visitor,
        Made {
            section: Section::Keys,
            heading: format!("The key {} is made", key["name"].as_str().unwrap_or_default()),
            what: "Programs send it as Authorization: Bearer …, or find it in RETUNE_API_KEY; people sign in with it."
                .into(),
            secret: key["secret"].as_str().unwrap_or_default().to_owned(),
            back: "/keys".into(),
        },
    )
}

pub async fn revoke(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Redirect, PageError> {
    let id: KeyId = id.parse().map_err(|_| PageError::NotFound)?;
    let path = format!("/v1/api_keys/{id}");
    let change = Change {
        method: Method::DELETE,
        ..Change::post(&path)
    };
    pages.api.ask(&posted, change).await?;
    Ok(Redirect::to("/keys"))
}

impl Row {
    fn of(visitor: &Visitor, key: ApiKey, now: OffsetDateTime) -> Self {
        let own = visitor.principal.key_id == Some(key.id);
        let (state, class) = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => ("withdrawn".to_owned(), "cancelled"),
            (None, Some(end)) if end <= now => ("expired".into(), "cancelled"),
            (None, Some(end)) => (format!("until {}", format::day(end)), "succeeded"),
            (None, None) => ("valid".into(), "succeeded"),
        };
        let question = if own {
            "This session ends with it."
        } else {
            "Every request with it is refused from then on. It cannot be taken back."
        };
        let revoke = Action::new(visitor, "Revoke", format!("/keys/{}/revoke", key.id));
        let revoke = revoke.asking(question).about(key.name.clone()).danger();
        Self {
            role: format::label(&key.role),
            prefix: key.prefix,
            own,
            created_at: format::instant(key.created_at),
            age: format::age(key.created_at, now),
            revoke: (class == "succeeded").then_some(revoke),
            name: key.name,
            state,
            class,
        }
    }
}

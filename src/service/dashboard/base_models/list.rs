//! `/base-models`: the base models, newest first.

use axum::{extract::State, response::Html};
use serde_json::Value;

use crate::service::{
    dashboard::{
        error::PageError,
        format,
        frame::{Frame, Section},
        render,
        visit::Visitor,
    },
    database::base_models,
    domain::registry::base_models::BaseModel,
    state::AppState,
};

/// The newest are shown; the API has them all.
const ROWS: i64 = 200;

#[derive(askama::Template)]
#[template(
    path = "base_models/list.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    description: String,
    versions: i64,
    aliases: String,
    licence: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
) -> Result<Html<String>, PageError> {
    let found = base_models::list(&state.database, visitor.principal.tenant, None, ROWS).await?;

    Ok(render(&Page {
        frame: visitor.frame(Section::BaseModels, "Base models").every(10),
        rows: found.into_iter().map(Row::from).collect(),
    })?)
}

impl From<BaseModel> for Row {
    fn from(model: BaseModel) -> Self {
        Self {
            versions: model.versions,
            aliases: aliases(&model.aliases),
            description: model.description.unwrap_or_default(),
            licence: model.licence.unwrap_or_else(|| format::ABSENT.into()),
            name: model.name,
        }
    }
}

/// `stable 1.2, next 2.0`.
pub fn aliases(aliases: &Value) -> String {
    let shown = aliases.as_object().into_iter().flatten();
    let shown = shown.filter_map(|(alias, version)| Some(format!("{alias} {}", version.as_str()?)));
    shown.collect::<Vec<_>>().join(", ")
}

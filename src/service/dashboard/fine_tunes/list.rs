//! `/fine-tunes`: what is in production, what is stale, what waits for somebody.

use std::collections::HashSet;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Html,
};
use serde::Deserialize;
use serde_json::Value;

use crate::service::{
    dashboard::{
        error::PageError,
        format,
        frame::{Frame, Section},
        render,
        visit::Visitor,
    },
    database::fine_tunes::{
        self,
        standing::{self, Standing},
        versions,
    },
    domain::registry::{PRODUCTION, fine_tunes::FineTune},
    state::AppState,
};

/// The newest are shown; the API has them all.
const ROWS: i64 = 200;

#[derive(Default, Deserialize)]
pub struct Asked {
    show: Option<String>,
}

#[derive(askama::Template)]
#[template(
    path = "fine_tunes/list.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    narrowed: bool,
    rows: Vec<Row>,
}

struct Tab {
    name: &'static str,
    href: &'static str,
    current: bool,
}

struct Row {
    name: String,
    base_model: String,
    production: Option<i32>,
    /// Only administrators move `production`.
    protected: bool,
    others: String,
    stands_on: String,
    stale: String,
    /// A version waits for somebody to promote it.
    waits: bool,
    policy: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let show = asked
        .ok()
        .and_then(|Query(asked)| asked.show)
        .unwrap_or_default();
    let tenant = visitor.principal.tenant;
    let found = fine_tunes::list(&state.database, tenant, None, None, ROWS).await?;
    let standings = standing::list(&state.database, tenant, None, i64::MAX).await?;
    let proposed: HashSet<String> = versions::proposed(&state.database, tenant)
        .await?
        .into_iter()
        .collect();

    let rows = found.iter().filter_map(|one| {
        let standing = standings
            .iter()
            .find(|standing| standing.fine_tune == one.name)?;
        Some(Row::of(one, standing, proposed.contains(&one.name)))
    });
    let rows = rows.filter(|row| match show.as_str() {
        "stale" => !row.stale.is_empty(),
        "proposed" => row.waits,
        _ => true,
    });

    Ok(render(&Page {
        frame: visitor.frame(Section::FineTunes, "Fine-tunes").every(5),
        tabs: tabs(&show),
        narrowed: !show.is_empty(),
        rows: rows.collect(),
    })?)
}

fn tabs(show: &str) -> Vec<Tab> {
    let tabs = [
        ("all", "/fine-tunes", ""),
        ("stale", "/fine-tunes?show=stale", "stale"),
        (
            "waiting for promotion",
            "/fine-tunes?show=proposed",
            "proposed",
        ),
    ];
    tabs.into_iter()
        .map(|(name, href, key)| Tab {
            name,
            href,
            current: key == show,
        })
        .collect()
}

impl Row {
    fn of(fine_tune: &FineTune, standing: &Standing, waits: bool) -> Self {
        Self {
            name: fine_tune.name.clone(),
            base_model: fine_tune.base_model.clone(),
            production: standing.production,
            protected: protects_production(fine_tune),
            others: aliases(&fine_tune.aliases, PRODUCTION),
            stands_on: standing
                .stands_on
                .clone()
                .unwrap_or_else(|| "a location".into()),
            stale: stale(standing),
            waits,
            policy: policy(fine_tune),
        }
    }
}

/// Whether only administrators move `production`.
pub fn protects_production(fine_tune: &FineTune) -> bool {
    let mut protected = fine_tune.protected_aliases.iter();
    protected.any(|alias| alias == PRODUCTION)
}

/// `7 replaced 6`, of what stands on a base that is not the one that it follows; empty of what does not.
pub fn stale(standing: &Standing) -> String {
    match (&standing.stands_on, standing.is_stale) {
        (_, false) => String::new(),
        (Some(below), true) => format!("{} replaced {below}", standing.current),
        (None, true) => format!("not on {}", standing.current),
    }
}

/// `promote: new version`.
pub fn policy(fine_tune: &FineTune) -> String {
    let policy = &fine_tune.policy;
    let on = match &policy.alias {
        Some(alias) => format!("{} ({alias})", format::label(&policy.on)),
        None => format::label(&policy.on),
    };
    format!("{}: {on}", format::label(&policy.mode))
}

/// `canary 3, stable 2`, without one of them.
pub fn aliases(aliases: &Value, without: &str) -> String {
    let Some(aliases) = aliases.as_object() else {
        return String::new();
    };
    let shown = aliases
        .iter()
        .filter(|(alias, _)| *alias != without)
        .map(|(alias, version)| {
            let version = version
                .as_str()
                .map_or_else(|| version.to_string(), ToOwned::to_owned);
            format!("{alias} {version}")
        });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn aliases_are_told_in_words() {
        assert_eq!(
            aliases(&json!({"production": 2, "canary": 3}), "production"),
            "canary 3"
        );
        assert_eq!(aliases(&json!({"stable": "1.2"}), ""), "stable 1.2");
    }

    #[test]
    fn what_is_stale_says_what_replaced_what() {
        let standing = Standing {
            fine_tune: "news".into(),
            base_model: "llama".into(),
            tuned_from: "1".into(),
            production: Some(2),
            stands_on: Some("6".into()),
            current: "7".into(),
            is_stale: true,
            retires_at: None,
        };
        assert_eq!(stale(&standing), "7 replaced 6");
        assert_eq!(
            stale(&Standing {
                stands_on: None,
                ..standing.clone()
            }),
            "not on 7"
        );
        assert_eq!(
            stale(&Standing {
                is_stale: false,
                ..standing
            }),
            ""
        );
    }
}

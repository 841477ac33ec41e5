//! `GET /v1/transfers`: a page of transfers, newest first.

use axum::{Json, extract::State};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    pipeline::Verdict,
    service::{
        api::{
            AppState,
            authentication::Reader,
            extract::QueryPairs,
            page::{Cut, Page, PageQuery},
            problem::{Problem, QueryRefusals, Refusals},
        },
        database::transfers::{self, ListFilter},
        domain::transfers::{Status, Transfer},
    },
};

/// List transfers, newest first.
///
/// Filters are combined. `metadata.k=v` (any `k`) keeps transfers whose metadata has it.
#[utoipa::path(
    get,
    path = "/v1/transfers",
    tag = "transfers",
    operation_id = "list_transfers",
    params(
        ("status" = Option<Vec<Status>>, Query, description = "Only those of this status; given several times, of any of them"),
        ("verdict" = Option<Verdict>, Query, description = "Only those whose gate came to this"),
        ("base" = Option<String>, Query, description = "Only those from or onto this base"),
        ("name" = Option<String>, Query, description = "Only those whose name has this in it, in whatever case"),
        ("retune" = Option<Uuid>, Query, description = "Only those of this retune"),
        ("search" = Option<String>, Query, description = "Only those with this text in their id, name, locations, labels or fine-tune, whatever its case"),
        ("created_after" = Option<String>, Query, description = "Only those submitted at this time (RFC 3339) or later"),
        ("created_before" = Option<String>, Query, description = "Only those submitted earlier than this"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<Transfer>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<Transfer>>, Problem> {
    let (filter, cut) = filter(query)?;
    let rows = transfers::list(&state.database, caller.tenant, &filter).await?;
    Ok(cut.page(rows))
}

fn filter(query: Vec<(String, String)>) -> Result<(ListFilter, Cut), Problem> {
    let mut filter = ListFilter::default();
    let cut = Cut::read(query, |name, value| {
        match name {
            "status" => filter.statuses.push(status(&value)?),
            "verdict" => filter.verdict = Some(verdict(&value)?),
            "search" => filter.search = Some(value).filter(|text| !text.is_empty()),
            "created_after" => filter.created_after = Some(instant(name, &value)?),
            "created_before" => filter.created_before = Some(instant(name, &value)?),
            "base" => filter.base = Some(value),
            "name" => filter.name = Some(value),
            "retune" => {
                let detail = "must be the id of a retune";
                let id = value
                    .parse()
                    .map_err(|_| Problem::invalid_query("retune", detail))?;
                filter.retune = Some(id);
            }
            _ => {
                let Some(key) = name.strip_prefix("metadata.") else {
                    return Ok(false);
                };
                filter.metadata.push((key.to_owned(), value));
            }
        }
        Ok(true)
    })?;

    Ok((
        ListFilter {
            after: cut.after(),
            limit: cut.rows(),
            ..filter
        },
        cut,
    ))
}

fn status(text: &str) -> Result<Status, Problem> {
    serde_json::from_value(text.into()).map_err(|_| {
        let detail =
            "one of queued, running, awaiting_evaluation, cancelling, succeeded, failed, cancelled";
        Problem::invalid_query("status", detail)
    })
}

fn verdict(text: &str) -> Result<Verdict, Problem> {
    let detail = "one of published, rejected";
    serde_json::from_value(text.into()).map_err(|_| Problem::invalid_query("verdict", detail))
}

fn instant(name: &str, text: &str) -> Result<OffsetDateTime, Problem> {
    let detail = "a time as 2026-11-30T12:00:00Z";
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Problem::invalid_query(name, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<(ListFilter, Cut), Problem> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        filter(pairs.iter().map(owned).collect())
    }

    #[test]
    fn filters_are_read_and_one_row_more_is_asked_for() {
        let (filter, cut) = read(&[
            ("status", "running"),
            ("status", "queued"),
            ("limit", "2"),
            ("metadata.team", "x"),
        ])
        .unwrap();
        assert_eq!(filter.statuses, [Status::Running, Status::Queued]);
        assert_eq!((filter.limit, cut.limit), (3, 2));
        assert_eq!(filter.metadata, [("team".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (name, value) in [
            ("status", "done"),
            ("verdict", "good"),
            ("created_after", "today"),
            ("retune", "x"),
            ("after", "x"),
            ("limit", "0"),
            ("sort", "id"),
        ] {
            let problem = read(&[(name, value)]).unwrap_err();
            let json = serde_json::to_value(problem).unwrap();
            assert_eq!(json["errors"][0]["pointer"], format!("/{name}"));
        }
    }
}

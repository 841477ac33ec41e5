//! `GET /v1/transfers`: a page of transfers, newest first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::QueryPairs,
        page::{Cut, Page, PageQuery},
        problem::{Problem, QueryRefusals, Refusals},
    },
    database::transfers::{self, ListFilter},
    domain::transfers::{Status, Transfer},
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
        ("status" = Option<Status>, Query, description = "Only those of this status"),
        ("base" = Option<String>, Query, description = "Only those from or onto this base"),
        ("name" = Option<String>, Query, description = "Only those whose name has this in it, in whatever case"),
        ("retune" = Option<Uuid>, Query, description = "Only those of this retune"),
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
            "status" => filter.status = Some(status(&value)?),
            "base" => filter.base = Some(value),
            "name" => filter.name = Some(value),
            "retune" => {
                let detail = "must be the id of a retune";
                let id = value.parse().map_err(|_| Problem::invalid_query("retune", detail))?;
                filter.retune = Some(id);
            }
            _ => {
                let Some(key) = name.strip_prefix("metadata.") else { return Ok(false) };
                filter.metadata.push((key.to_owned(), value));
            }
        }
        Ok(true)
    })?;

    Ok((ListFilter { after: cut.after(), limit: cut.rows(), ..filter }, cut))
}

fn status(text: &str) -> Result<Status, Problem> {
    serde_json::from_value(text.into()).map_err(|_| {
        let detail =
            "one of queued, running, awaiting_evaluation, cancelling, succeeded, failed, cancelled";
        Problem::invalid_query("status", detail)
    })
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
        let (filter, cut) =
            read(&[("status", "running"), ("limit", "2"), ("metadata.team", "x")]).unwrap();
        assert_eq!((filter.status, filter.limit, cut.limit), (Some(Status::Running), 3, 2));
        assert_eq!(filter.metadata, [("team".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (name, value) in
            [("status", "done"), ("retune", "x"), ("after", "x"), ("limit", "0"), ("sort", "id")]
        {
            let problem = read(&[(name, value)]).unwrap_err();
            let json = serde_json::to_value(problem).unwrap();
            assert_eq!(json["errors"][0]["pointer"], format!("/{name}"));
        }
    }
}

//! `GET /v1/base_models/{name}/arrivals`: a page of what was announced, last first announced first.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Reader,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Missing, Problem, QueryRefusals, Refusals},
    },
    database::arrivals::{self, ListFilter},
    domain::registry::arrivals::{Arrival, ArrivalStatus},
};

/// List what was announced as a version, newest first.
///
/// A folder and version is one arrival, however often it is announced. What waits is looked at again
/// until it is a whole model, or until `arrivals.give_up_seconds` after its last announcement.
#[utoipa::path(
    get,
    path = "/v1/base_models/{name}/arrivals",
    tag = "base_models",
    operation_id = "list_arrivals",
    params(
        ("name" = String, Path, description = "The base model"),
        ("status" = Option<ArrivalStatus>, Query, description = "Only those of this status"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<Arrival>),
        Missing,
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Name(name): Name,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<Arrival>>, Problem> {
    let (filter, cut) = parse(query)?;
    super::super::load(&state, caller.tenant, &name).await?;
    let rows = arrivals::list(&state.database, caller.tenant, &name, &filter).await?;
    Ok(cut.page(rows))
}

fn parse(query: Vec<(String, String)>) -> Result<(ListFilter, Cut), Problem> {
    let mut filter = ListFilter::default();
    let cut = Cut::read(query, |name, value| {
        if name != "status" {
            return Ok(false);
        }
        let status = serde_json::from_value(value.into());
        filter.status = status.map_err(|_| {
            Problem::invalid_query(
                "status",
                "waiting, registered, known, ignored, proposed or failed",
            )
        })?;
        Ok(true)
    })?;

    filter.after = cut.after();
    filter.limit = cut.rows();

    Ok((filter, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_six() {
        let query = |status: &str| vec![("status".to_owned(), status.to_owned())];
        let (filter, cut) = parse(query("failed")).unwrap();
        assert_eq!(
            (filter.status, filter.limit, cut.limit),
            (Some(ArrivalStatus::Failed), 51, 50)
        );
        assert_eq!(parse(query("lost")).unwrap_err().code(), "invalid_query");
    }
}

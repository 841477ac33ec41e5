//! `GET /v1/webhook_endpoints/{name}/deliveries`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::{Name, QueryPairs},
        page::{Cut, Page, PageQuery},
        problem::{Found, Missing, Problem, QueryRefusals, Refusals},
    },
    database::{
        deliveries::{self, ListFilter},
        webhook_endpoints,
    },
    domain::events::{Delivery, DeliveryStatus},
};

/// List the deliveries to an endpoint, newest first.
#[utoipa::path(
    get,
    path = "/v1/webhook_endpoints/{name}/deliveries",
    tag = "webhook_endpoints",
    operation_id = "list_webhook_deliveries",
    params(
        ("name" = String, Path, description = "The endpoint"),
        ("status" = Option<DeliveryStatus>, Query, description = "Only those of this status"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<Delivery>),
        Missing,
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Name(name): Name,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<Delivery>>, Problem> {
    let (filter, cut) = filter(query)?;
    let (database, tenant) = (&state.database, caller.tenant);
    let endpoint = webhook_endpoints::get(database, tenant, &name).await?;
    endpoint.found("endpoint")?;
    let rows = deliveries::list(database, tenant, &name, &filter).await?;
    Ok(cut.page(rows))
}

/// The filter, one row wider than the page, and the page.
fn filter(query: Vec<(String, String)>) -> Result<(ListFilter, Cut), Problem> {
    let mut status = None;
    let cut = Cut::read(query, |name, value| {
        if name != "status" {
            return Ok(false);
        }
        let detail = "one of pending, delivered, failed";
        let read = serde_json::from_value(value.into());
        status = Some(read.map_err(|_| Problem::invalid_query("status", detail))?);
        Ok(true)
    })?;

    Ok((
        ListFilter {
            status,
            after: cut.after(),
            limit: cut.rows(),
        },
        cut,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<(ListFilter, Cut), Problem> {
        filter(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn filters_are_read_and_what_is_not_understood_is_refused() {
        assert_eq!(
            read("status", "failed").unwrap().0.status,
            Some(DeliveryStatus::Failed)
        );
        assert_eq!(read("limit", "3").unwrap().0.limit, 4);
        for (name, value) in [
            ("status", "done"),
            ("after", "x"),
            ("limit", "0"),
            ("sort", "id"),
        ] {
            assert_eq!(
                read(name, value).unwrap_err().code(),
                "invalid_query",
                "{name}"
            );
        }
    }
}

//! `DELETE /v1/transfers/{id}`.

use axum::{extract::State, http::StatusCode};

use crate::{
    contract::ids::TransferId,
    service::{
        api::{
            AppState,
            authentication::Administrator,
            extract::{Id, QueryPairs},
            problem::{Missing, Problem, QueryRefusals, Refusals, removed},
        },
        database::transfers,
        registry::removal,
        results,
    },
};

/// Delete a transfer that has ended, with its events.
///
/// With `files=true` its result too: the manifest first, so that what is left at any moment is no result. Without,
/// the files stay where they are.
#[utoipa::path(
    delete,
    path = "/v1/transfers/{id}",
    tag = "transfers",
    operation_id = "delete_transfer",
    params(
        ("id" = Uuid, Path, description = "The transfer"),
        ("files" = Option<bool>, Query, description = "Also the files of its result"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`invalid_state`: it has not ended; `in_use`: a fine-tune's version or another registered thing is its result"),
        Missing,
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    Id(id): Id<TransferId>,
    QueryPairs(query): QueryPairs,
) -> Result<StatusCode, Problem> {
    let with_files = with_files(&query)?;
    let Some(transfer) = transfers::get(&state.database, caller.tenant, id).await? else {
        return Err(Problem::not_found("transfer"));
    };

    removal::check_transfer(&state.database, caller, &transfer).await?;
    if with_files {
        let staged = transfer
            .evaluation
            .and_then(|evaluation| evaluation.staged_uri);
        for uri in transfer
            .result
            .map(|result| result.uri)
            .into_iter()
            .chain(staged)
        {
            results::delete(&state.storage(caller.tenant), &uri).await?;
        }
    }
    let known = removal::transfer(&state.database, caller, id).await?;

    removed(known, "transfer")
}

fn with_files(query: &[(String, String)]) -> Result<bool, Problem> {
    let mut with_files = false;
    for (name, value) in query {
        with_files = match (name.as_str(), value.parse()) {
            ("files", Ok(wanted)) => wanted,
            ("files", Err(_)) => return Err(Problem::invalid_query("files", "true or false")),
            _ => {
                return Err(Problem::invalid_query(
                    name,
                    "no such parameter; there is files",
                ));
            }
        };
    }
    Ok(with_files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_deleted_only_where_that_is_said() {
        let ask = |name: &str, value: &str| with_files(&[(name.to_owned(), value.to_owned())]);
        assert!(!with_files(&[]).unwrap());
        assert!(ask("files", "true").unwrap() && !ask("files", "false").unwrap());
        for (name, value) in [("files", "1"), ("file", "true")] {
            assert_eq!(ask(name, value).unwrap_err().code(), "invalid_query");
        }
    }
}

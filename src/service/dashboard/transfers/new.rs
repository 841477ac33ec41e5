//! `/transfers/new`: a job as JSON, its plan, and its submission.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    contract::plan::Plan,
    service::{
        dashboard::{
            Pages,
            error::PageError,
            format,
            frame::{Frame, Section},
            refusal::Refusal,
            render,
            through_api::Change,
            visit::{Visitor, forms::Posted},
        },
        database::transfers,
        domain::access::Role,
        state::AppState,
    },
};

/// What stands in the form before anything is written.
const EXAMPLE: &str = r#"{
  "source": {"base": "s3://models/base-1/", "trajectory": "s3://models/tuned/"},
  "target": {"base": "s3://models/base-2/"},
  "data": {"train": "s3://data/train/", "validation": "s3://data/validation/", "test": "s3://data/test/"},
  "methods": "auto",
  "output": "s3://models/results/"
}"#;

/// Least lines of the field.
const LINES: usize = 14;

#[derive(Default, Deserialize)]
pub struct Model {
    /// The transfer whose job is to be changed.
    like: Option<String>,
}

#[derive(askama::Template)]
#[template(
    path = "transfers/new.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    spec: String,
    rows: usize,
    /// The same for every try of this form, so that sending it twice submits one job.
    once: String,
    plan: Option<Shown>,
    refusal: Option<Refusal>,
}

struct Shown {
    sentence: String,
    methods: Vec<MethodRow>,
    assumptions: String,
}

struct MethodRow {
    name: String,
    gradients: String,
    flops: String,
    memory: String,
}

pub async fn form(
    State(state): State<AppState>,
    visitor: Visitor,
    model: Result<Query<Model>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    if !visitor.may(Role::Submit) {
        return Err(PageError::NeedsSubmit);
    }

    let like = model.map(|Query(model)| model).unwrap_or_default().like;
    let spec = match like {
        None => EXAMPLE.to_owned(),
        Some(id) => {
            let id = id.parse().map_err(|_| PageError::NotFound)?;
            let found = transfers::get(&state.database, visitor.principal.tenant, id).await?;
            pretty(&found.ok_or(PageError::NotFound)?.spec)
        }
    };

    Ok(render(&page(&visitor, spec, Uuid::new_v4().to_string()))?)
}

pub async fn send(
    State(pages): State<Pages>,
    visitor: Visitor,
    posted: Posted,
) -> Result<Response, PageError> {
    let mut page = page(
        &visitor,
        posted.text("spec").to_owned(),
        posted.text("once").to_owned(),
    );
    let spec: Value = match serde_json::from_str(&page.spec) {
        Ok(spec) => spec,
        Err(error) => {
            page.refusal = Some(Refusal::of_form(
                "malformed_json",
                format!("This is no JSON: {error}."),
            ));
            return shown(page);
        }
    };

    let is_submission = posted.text("do") == "submit";
    let path = if is_submission {
        "/v1/transfers"
    } else {
        "/v1/transfers:plan"
    };
    let once = Some(page.once.as_str()).filter(|once| is_submission && !once.is_empty());
    let change = Change {
        once,
        ..Change::post(path).with(spec)
    };
    match pages.api.ask(&posted, change).await {
        Ok(transfer) if is_submission => {
            let id = transfer["id"].as_str().unwrap_or_default();
            Ok(Redirect::to(&format!("/transfers/{id}")).into_response())
        }
        Ok(plan) => {
            page.plan = serde_json::from_value(plan)
                .ok()
                .map(|plan| Shown::of(&plan));
            shown(page)
        }
        // What is at fault with the job stands beside it; any other refusal has a page of its own.
        Err(PageError::Refused(refusal)) if visitor.may(Role::Submit) => {
            // This form has submitted another job before; the next try is a submission of its own.
            if refusal.code == "idempotency_key_reused" {
                page.once = Uuid::new_v4().to_string();
            }
            page.refusal = Some(refusal);
            shown(page)
        }
        Err(error) => Err(error),
    }
}

/// With the status of the refusal, where there is one.
fn shown(page: Page) -> Result<Response, PageError> {
    let status = page
        .refusal
        .as_ref()
        .map(|refusal| refusal.status)
        .unwrap_or_default();
    Ok((status, render(&page)?).into_response())
}

fn page(visitor: &Visitor, spec: String, once: String) -> Page {
    Page {
        frame: visitor.frame(Section::Transfers, "New transfer"),
        rows: spec.lines().count().max(LINES) + 1,
        spec,
        once,
        plan: None,
        refusal: None,
    }
}

fn pretty(spec: &Value) -> String {
    serde_json::to_string_pretty(spec).unwrap_or_default()
}

impl Shown {
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    fn of(plan: &Plan) -> Self {
        let estimate = &plan.estimate;
        let (least, most) = (estimate.seconds_least, estimate.seconds);
        let time = if most - least > 0.1 * most {
            format!("{} to {}", format::seconds(least), format::seconds(most))
        } else {
            format::seconds(most)
        };
        let samples = plan.samples;
        let sentence = format!(
            "{time} and {} of memory on a machine like this one, for {} parameters, {} training, {} validation \
             and {} test samples.",
            format::size(estimate.memory_bytes),
            format::figure(Some(plan.parameters as f64)),
            format::figure(Some(samples.train as f64)),
            format::figure(Some(samples.validation as f64)),
            format::figure(Some(samples.test as f64)),
        );
        let methods = plan.methods.iter().map(|one| MethodRow {
            name: format::label(&one.method),
            gradients: format::figure(Some(one.sample_gradients as f64)),
            flops: format!("{:.1e}", one.flops),
            memory: format::size(one.memory_bytes),
        });

        Self {
            sentence,
            methods: methods.collect(),
            assumptions: plan.assumptions.clone(),
        }
    }
}

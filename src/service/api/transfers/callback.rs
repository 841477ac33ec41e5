//! Checks where a job's callback goes, before the job is queued.

use crate::{
    config,
    service::{api::problem::Problem, webhooks::Guard},
    spec::{Fault, Spec},
};

/// # Errors
/// 422 `address_not_allowed` for an address that webhooks may not go to.
pub fn check(spec: &Spec, settings: &config::Webhooks) -> Result<(), Problem> {
    let Some(callback) = &spec.callback else { return Ok(()) };
    Guard::from(settings).check(&callback.url).map(|_| ()).map_err(|error| {
        let fault = Fault::new("/callback/url", error.to_string());
        Problem::invalid("address_not_allowed", vec![fault])
    })
}

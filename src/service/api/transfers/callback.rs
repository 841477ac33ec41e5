//! Checks where a job's callback goes, before the job is queued.

use crate::{
    config,
    contract::spec::{Fault, Spec},
    service::{
        api::problem::{Problem, ProblemCode},
        webhooks::Guard,
    },
};

/// # Errors
/// 422 `address_not_allowed` for an address that webhooks may not go to.
pub fn check(spec: &Spec, settings: &config::Webhooks) -> Result<(), Problem> {
    match fault(spec, settings) {
        Some(fault) => Err(Problem::invalid(
            ProblemCode::AddressNotAllowed,
            vec![fault],
        )),
        None => Ok(()),
    }
}

/// Why the callback is refused, if it is.
pub fn fault(spec: &Spec, settings: &config::Webhooks) -> Option<Fault> {
    let error = Guard::from(settings)
        .check(&spec.callback.as_ref()?.url)
        .err()?;
    Some(Fault::new("/callback/url", error.to_string()))
}

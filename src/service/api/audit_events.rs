//! What was done in the caller's tenant, and what was refused; for administrators.

pub mod list;

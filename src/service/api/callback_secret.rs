//! The key that signs the callbacks of a tenant's jobs; for administrators.

pub mod rotate;

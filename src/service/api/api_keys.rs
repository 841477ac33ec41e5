//! Keys of the caller's tenant; for administrators.

pub mod create;
pub mod list;
pub mod revoke;

//! Addresses that object stores and registries notify.

pub mod create;
pub mod delete;
pub mod list;

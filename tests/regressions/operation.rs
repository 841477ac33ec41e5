//! Databases, servers and documents that looked healthy and were not.

mod cluster;
mod figures;
mod inbound;
mod openapi;
mod pipes;
mod pooler;
mod restore;
mod server;
mod users;

//! Requests, tenants and workers that took more than their share, or more than their rights; and a database
//! that was away, or told another time.

mod answers;
mod auth_mode;
mod clock;
mod connections;
mod fairness;
mod labels;
mod logins;
mod logs;
mod outage;
mod streams;
mod versions;
mod webhooks;

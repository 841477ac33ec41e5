mod crash;
mod keys;
mod private_cluster;
mod queue;
mod serve;
mod sweep;
mod tenants;
mod webhooks;

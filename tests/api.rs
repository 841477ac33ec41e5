mod app;
mod documentation;
mod follow;
mod keys;
mod pages;
mod results;
mod transfers;
mod webhooks;

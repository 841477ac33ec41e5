//! The integration tests: one binary, one module an area, mirroring `src/`.

#![expect(
    clippy::too_many_lines,
    reason = "a test tells one story, from what is given to what comes of it"
)]

mod api;
mod architecture;
mod chaos;
mod deployment;
mod documentation;
mod examples;
#[cfg(feature = "wgpu")]
mod gpu;
mod reference;
mod regressions;
mod service;
mod support;

mod engine {
    pub mod fixtures;
    mod functional;
    pub mod networks;
    pub mod planted;
    mod symmetry;
    pub mod transformers;
}

mod storage {
    mod fencing;
    mod files;
    mod hub;
    mod judged;
    mod s3;
}

mod artifacts {
    mod hostile;
    mod models;
    mod parquet;
    mod pickles;
    mod pytorch;
    mod results;
    mod signature;
}

mod pipeline {
    mod adapters;
    mod bad_input;
    mod bodies;
    mod by_names;
    pub mod case;
    mod experts;
    mod external;
    mod gate;
    mod golden;
    mod heads;
    mod hub;
    mod ladder;
    mod matching_cache;
    mod plan;
    mod pytorch;
    mod report;
    mod resumed;
    mod retuning;
    mod rows;
    mod s3;
    mod same_bytes;
    mod sequences;
    mod streaming;
    mod tasks;
    mod touch_up;
    mod trainer;
    mod unlabelled;
    mod widths;
}

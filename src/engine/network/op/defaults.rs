//! What a field of an op is where `config.json` leaves it out.

pub(super) fn one() -> usize {
    1
}

pub(super) fn eps() -> f64 {
    1e-5
}

pub(super) fn rms_eps() -> f64 {
    1e-6
}

pub(super) fn theta() -> f64 {
    10000.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn is_zero(value: &usize) -> bool {
    *value == 0
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn beta_fast() -> f64 {
    32.0
}

pub(super) fn beta_slow() -> f64 {
    1.0
}

pub(super) fn buckets() -> usize {
    32
}

pub(super) fn max_distance() -> usize {
    128
}

pub(super) fn max_position() -> usize {
    512
}

pub(super) fn gamma() -> String {
    "gamma".to_owned()
}

pub(super) fn is_gamma(value: &str) -> bool {
    value == "gamma"
}

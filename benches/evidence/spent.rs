//! What a contender has cost.

use nix::sys::resource::{UsageWho, getrusage};
use retune::engine::training::Cost;
use serde_json::{Value, json};

/// Sample gradients and processor seconds.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    pub gradients: f64,
    pub seconds: f64,
}

impl Spent {
    pub fn json(self) -> Value {
        json!({"gradients": self.gradients, "seconds": self.seconds})
    }
}

/// A forward pass is a third of a gradient.
pub fn gradients(cost: Cost) -> f64 {
    cost.sample_gradients as f64 + cost.sample_forwards as f64 / 3.0
}

/// User and system time of the process.
pub fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the process may ask for its own usage");
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

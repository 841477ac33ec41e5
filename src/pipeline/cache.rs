//! What jobs leave on this machine for those that come after them.
//!
//! Nothing in the cache is needed: whatever is missing, broken or of another version is computed again,
//! and gives the same bytes. Without a cache folder nothing is kept beyond the job.
//!
//! | what | where | for whom | until when |
//! |---|---|---|---|
//! | [`matchings`]: the weight-matching π of a pair of bases | `matching/<key>.json` | every tuning of the pair | somebody removes it |
//! | the stage of such a search | `matching/<key>.underway` | the attempt after a kill | the search ends |
//! | the lock of a pair | `locks/matching-<key>` | jobs that begin together on one machine | it stays, empty |
//! | [`gradients`]: the pairs of one method of one job | `steps/<key>/*.safetensors` | the attempt after a kill | the method has its candidate; else a week |
//! | [`resume`]: the end of a step of GMT | `steps/<key>/*-reached.json` | the attempt after a kill | as the gradients |
//! | [`fitted`]: every layer of `functional`, and how its trials were judged | `steps/<key>/fit-*`, `trials.json` | the attempt after a kill | as the gradients |
//! | [`calibration`]: the speed of this machine | `speed.json` | every plan of this program | another version or number of threads |
//!
//! A key is a digest of everything that the content depends on: the digests of the inputs, the program's
//! version, device and, for gradients, the specification and the number of threads.
//!
//! A process may be killed at any moment. A small file is written aside, with the digest of its text before
//! it, and renamed into its place ([`checksummed`]); a gradient gets its digest as a file of its own,
//! after it, and a fitted layer its entry, which has the digest of its tensors. What a kill leaves is therefore whole, or is seen not to be and removed by the next attempt. The
//! system gives locks back when their process dies.

pub mod calibration;
mod checksummed;
mod fitted;
pub mod gradients;
pub mod matchings;
mod resume;

pub use gradients::DiskGradients;
pub use matchings::Origin;

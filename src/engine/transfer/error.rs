//! Why a transfer ends early.

use crate::symmetry::assignment::NotFinite;

/// Why a transfer ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("interrupted")]
    Interrupted,
    #[error("gradients or parameters overflow: {0}")]
    NotFinite(#[from] NotFinite),
    #[error("what the bases' layers see overflows: it has no singular values")]
    NoSingularValues,
    #[error("the method reads training samples, and there are none")]
    NoTrainingSamples,
    #[error("the method builds upon another's alignment, and there is none")]
    NoAlignment,
    #[error("the oracle fine-tunes the target, and there is no plan for it")]
    NoFineTunePlan,
}

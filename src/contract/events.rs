//! Kinds of events, reasons within them and audited actions, each with the text by which tenants know it.

use std::fmt;

use serde::{Serialize, Serializer};

/// Declares an enum whose values have a text each.
macro_rules! named {
    ($(#[$documentation:meta])* $name:ident { $($value:ident = $text:literal,)+ }) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($value,)+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// As it is written in JSON and in the database.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            /// The value of a text.
            pub fn of(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

named! {
    /// Every kind of event that a webhook can tell of.
    EventKind {
        TransferQueued = "transfer.queued",
        TransferStarted = "transfer.started",
        TransferPhaseChanged = "transfer.phase_changed",
        TransferAwaitingEvaluation = "transfer.awaiting_evaluation",
        TransferSucceeded = "transfer.succeeded",
        TransferFailed = "transfer.failed",
        TransferCancelled = "transfer.cancelled",
        GatePassed = "gate.passed",
        GateFailed = "gate.failed",
        BaseModelVersionCreated = "base_model.version.created",
        BaseModelAliasMoved = "base_model.alias.moved",
        BaseModelSuccessorNamed = "base_model.successor.named",
        BaseModelArrivalFailed = "base_model.arrival.failed",
        RetuneCreated = "retune.created",
        RetuneCompleted = "retune.completed",
        FineTuneVersionCreated = "fine_tune.version.created",
        FineTuneVersionAwaitingPromotion = "fine_tune.version.awaiting_promotion",
        FineTuneVersionPromoted = "fine_tune.version.promoted",
        FineTuneVersionRolledBack = "fine_tune.version.rolled_back",
        WebhookEndpointDisabled = "webhook_endpoint.disabled",
        WebhookEndpointTest = "webhook_endpoint.test",
    }
}

impl EventKind {
    /// Whether a pattern (`*`, `transfer.*` or a kind) matches at least one kind.
    pub fn any_matches(pattern: &str) -> bool {
        if pattern == "*" {
            return true;
        }

        let stem = pattern.strip_suffix('*').filter(|stem| stem.ends_with('.'));
        Self::ALL.iter().any(|kind| {
            kind.name() == pattern || stem.is_some_and(|stem| kind.name().starts_with(stem))
        })
    }

    /// The texts of all kinds, separated by commas.
    pub fn list() -> String {
        Self::ALL
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

named! {
    /// Why a transfer was queued: `reason` of a `transfer.queued`.
    QueuedReason {
        Submitted = "submitted",
        Retune = "retune",
        Retried = "retried",
        AttemptFailed = "attempt_failed",
        LeaseExpired = "lease_expired",
        HandedBack = "handed_back",
        NotUnderstood = "not_understood",
        Evaluated = "evaluated",
    }
}

named! {
    /// Why a transfer that waited was cancelled: `reason` of a `transfer.cancelled`.
    CancelReason {
        Requested = "requested",
        RetuneCancelled = "retune_cancelled",
        Superseded = "superseded",
        BudgetExhausted = "budget_exhausted",
    }
}

named! {
    /// Every action that the audit log records as done. A refusal is recorded under its method and route.
    AuditAction {
        TransferSubmit = "transfer.submit",
        TransferCancel = "transfer.cancel",
        TransferRetry = "transfer.retry",
        TransferEvaluate = "transfer.evaluate",
        TransferDelete = "transfer.delete",
        RetuneCreate = "retune.create",
        RetunePause = "retune.pause",
        RetuneResume = "retune.resume",
        RetuneCancel = "retune.cancel",
        BaseModelPut = "base_model.put",
        BaseModelDelete = "base_model.delete",
        BaseModelVersion = "base_model.version",
        BaseModelVersionDelete = "base_model.version.delete",
        BaseModelAlias = "base_model.alias",
        InboundTokenCreate = "inbound_token.create",
        InboundTokenDelete = "inbound_token.delete",
        FineTunePut = "fine_tune.put",
        FineTuneDelete = "fine_tune.delete",
        FineTuneAliasProtect = "fine_tune.alias.protect",
        FineTuneAliasUnprotect = "fine_tune.alias.unprotect",
        FineTunePromote = "fine_tune.promote",
        FineTuneRollback = "fine_tune.rollback",
        WebhookEndpointPut = "webhook_endpoint.put",
        WebhookEndpointDelete = "webhook_endpoint.delete",
        WebhookEndpointRotate = "webhook_endpoint.rotate",
        WebhookEndpointTest = "webhook_endpoint.test",
        DeliveryReplay = "delivery.replay",
        CallbackSecretRotate = "callback_secret.rotate",
        ApiKeyCreate = "api_key.create",
        ApiKeyRevoke = "api_key.revoke",
        TenantQuotas = "tenant.quotas",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_can_match_nothing_is_told_apart() {
        for good in [
            "*",
            "transfer.succeeded",
            "transfer.*",
            "fine_tune.version.*",
        ] {
            assert!(EventKind::any_matches(good), "{good}");
        }
        for bad in [
            "",
            "**",
            "transfer",
            "transfer*",
            "trans*",
            "transfer.done",
            "model.*",
            ".*",
        ] {
            assert!(!EventKind::any_matches(bad), "{bad}");
        }
    }

    #[test]
    fn a_kind_and_an_action_are_written_as_their_texts() {
        assert_eq!(
            serde_json::to_value(EventKind::GatePassed).unwrap(),
            "gate.passed"
        );
        assert_eq!(AuditAction::TenantQuotas.to_string(), "tenant.quotas");
        assert_eq!(EventKind::ALL.len(), 21);
    }

    #[test]
    fn every_text_is_of_one_value() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of(kind.name()), Some(*kind));
        }
        for action in AuditAction::ALL {
            assert_eq!(AuditAction::of(action.name()), Some(*action));
        }
        for reason in QueuedReason::ALL {
            assert_eq!(QueuedReason::of(reason.name()), Some(*reason));
        }
        assert_eq!(EventKind::of("transfer.done"), None);
    }
}

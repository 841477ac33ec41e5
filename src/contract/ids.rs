//! Ids of rows, one type each, so that the compiler tells a tenant's from a transfer's.
//!
//! In JSON, in the database and on the command line each is the plain UUID.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Declares newtypes over [`Uuid`].
macro_rules! ids {
    ($($(#[$documentation:meta])* $name:ident,)+) => {$(
        $(#[$documentation])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Draws a new id; `UUIDv7`, so that ids rise with time.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        // Logs show the UUID alone.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )+};
}

ids! {
    /// A tenant.
    TenantId,
    /// An API key.
    KeyId,
    /// An entry of the audit log.
    AuditEventId,
    /// A transfer.
    TransferId,
    /// A worker process.
    WorkerId,
    /// The right to write to a claimed row: drawn with each claim.
    LeaseToken,
    /// An attempt at a transfer.
    AttemptId,
    /// A retune.
    RetuneId,
    /// A base model.
    BaseModelId,
    /// A version of a base model.
    BaseVersionId,
    /// A move of an alias of a base model.
    BaseAliasMoveId,
    /// A fine-tune.
    FineTuneId,
    /// A version of a fine-tune.
    FineTuneVersionId,
    /// A move of an alias of a fine-tune.
    FineTuneAliasMoveId,
    /// An announced folder.
    ArrivalId,
    /// An address for notifications.
    InboundTokenId,
    /// An event.
    EventId,
    /// An endpoint of webhooks.
    WebhookEndpointId,
    /// A delivery of an event to an endpoint.
    DeliveryId,
}

impl TransferId {
    /// Stands for "any transfer" where changes are announced.
    pub const ANY: Self = Self(Uuid::nil());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_and_writes_as_the_uuid_itself() {
        let uuid = Uuid::from_u128(7);
        let id: TransferId = uuid.to_string().parse().unwrap();
        assert_eq!(
            (id.to_string(), format!("{id:?}")),
            (uuid.to_string(), format!("{uuid:?}"))
        );
        assert_eq!(
            serde_json::to_value(id).unwrap(),
            serde_json::to_value(uuid).unwrap()
        );
        assert_eq!(
            serde_json::from_value::<TransferId>(uuid.to_string().into()).unwrap(),
            id
        );
        assert!("x".parse::<TransferId>().is_err());
    }
}

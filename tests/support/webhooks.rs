//! Webhooks to receivers on this machine.

use std::time::Duration;

use retune::{
    config::Settings,
    contract::ids::TenantId,
    service::{
        database::{
            deliveries::{self, ListFilter},
            webhook_endpoints::Wanted,
        },
        domain::{access::DEFAULT_TENANT, events::Delivery},
        registry::endpoints,
    },
};

use super::TestDatabase;

/// Webhooks may go to this machine, and a failure is followed by another attempt soon.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.webhooks.allow_private = true;
    settings.webhooks.backoff = Duration::from_millis(20);
    settings.webhooks.poll = Duration::from_millis(20);
    settings
}

/// Adds an endpoint for every event of a tenant; its secret.
pub async fn subscribe(test: &TestDatabase, tenant: TenantId, name: &str, url: &str) -> String {
    let wanted = Wanted {
        url: url.to_owned(),
        events: vec!["*".to_owned()],
        enabled: true,
    };
    let made = endpoints::put(&test.database, tenant, name, &wanted, 0).await;
    made.expect("an endpoint").1.expect("a secret").reveal()
}

/// The newest delivery to an endpoint of the default tenant.
pub async fn newest_delivery(test: &TestDatabase, endpoint: &str) -> Delivery {
    let filter = ListFilter {
        limit: 1,
        ..ListFilter::default()
    };
    let listed = deliveries::list(&test.database, DEFAULT_TENANT, endpoint, &filter).await;
    listed.expect("the database answers").remove(0)
}

//! How new bases are made known: by every route, twice, in any order.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Failure, case::uri, client::Client};

/// Who says that a version has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Rest,
    S3,
    EventBridge,
    CloudEvents,
    HuggingFace,
    Mlflow,
}

pub const ROUTES: [Route; 6] = [
    Route::Rest,
    Route::S3,
    Route::EventBridge,
    Route::CloudEvents,
    Route::HuggingFace,
    Route::Mlflow,
];

/// A version of a base model that has landed.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub model: &'static str,
    pub version: &'static str,
    pub route: Route,
}

impl Arrival {
    /// The version's folder below `chaos/`.
    pub fn folder(&self) -> String {
        folder(self.model, self.version)
    }

    /// Tells the service, until it has heard. `token` is of the model's own address.
    pub async fn announce(&self, client: &Client<'_>, token: &str) -> Result<(), Failure> {
        let (model, version) = (self.model, self.version);
        if self.route == Route::Rest {
            let body = json!({"version": version, "uri": uri(&format!("{}/", self.folder()))});
            let path = format!("/v1/base_models/{model}/versions");
            client.ask(Method::POST, &path, Some((version, &body))).await?;
            return Ok(());
        }
        let path = format!("/v1/inbound/{}/{token}", self.sender());
        client.ask(Method::POST, &path, Some((version, &self.notification()))).await?;
        Ok(())
    }

    fn sender(&self) -> &'static str {
        match self.route {
            Route::CloudEvents => "cloudevents",
            Route::HuggingFace => "huggingface",
            Route::Mlflow => "mlflow",
            Route::Rest | Route::S3 | Route::EventBridge => "s3",
        }
    }

    /// As the sender has it.
    fn notification(&self) -> Value {
        let key = format!("chaos/{}/model.safetensors", self.folder());
        match self.route {
            Route::EventBridge => json!({"detail-type": "Object Created",
                "detail": {"bucket": {"name": "bucket"}, "object": {"key": key}}}),
            Route::CloudEvents => json!({"specversion": "1.0", "type": "models.landed",
                "source": "ci", "id": key, "data": {"uri": uri(&format!("{}/model.safetensors", self.folder()))}}),
            Route::HuggingFace => json!({"event": {"action": "update", "scope": "repo.content"},
                "repo": {"type": "model", "name": format!("org/{}", self.model)}}),
            Route::Mlflow => json!({"entity": "model_version", "action": "created", "data": {
                "name": self.model, "version": self.version,
                "source": uri(&format!("{}/", self.folder()))}}),
            Route::Rest | Route::S3 => json!({"Records": [{"eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "bucket"}, "object": {"key": key}}}]}),
        }
    }
}

pub fn folder(model: &str, version: &str) -> String {
    format!("bases/{model}/{version}")
}

//! How new bases are made known: by every route, twice, in any order.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Failure, case::uri, client::Client};

/// The service may be away for so long.
const PATIENCE: Duration = Duration::from_mins(5);

/// Who says that a version has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Rest,
    S3,
    EventBridge,
    CloudEvents,
    HuggingFace,
    Mlflow,
    /// `retune base-models add-version`.
    Command,
    /// Nobody: the folder is listed.
    Poll,
}

pub const ROUTES: [Route; 8] = [
    Route::Rest,
    Route::S3,
    Route::EventBridge,
    Route::CloudEvents,
    Route::HuggingFace,
    Route::Mlflow,
    Route::Command,
    Route::Poll,
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

    /// Tells the service, one of those at `urls`, until it has heard. `token` is of the model's own
    /// address.
    pub async fn announce(
        &self,
        client: &Client<'_>,
        urls: &[String],
        token: &str,
    ) -> Result<(), Failure> {
        let (model, version) = (self.model, self.version);
        let sender = match self.route {
            Route::Rest => {
                let body = json!({"version": version, "uri": uri(&format!("{}/", self.folder()))});
                let path = format!("/v1/base_models/{model}/versions");
                client
                    .ask(Method::POST, &path, Some((version, &body)))
                    .await?;
                return Ok(());
            }
            Route::Command => return self.command(urls).await,
            Route::Poll => return Ok(()),
            Route::CloudEvents => "cloudevents",
            Route::HuggingFace => "huggingface",
            Route::Mlflow => "mlflow",
            Route::S3 | Route::EventBridge => "s3",
        };
        let path = format!("/v1/inbound/{sender}/{token}");
        client
            .ask(Method::POST, &path, Some((version, &self.notification())))
            .await?;
        Ok(())
    }

    /// By the command line, again until it has done so.
    async fn command(&self, urls: &[String]) -> Result<(), Failure> {
        let begun = Instant::now();
        let place = uri(&format!("{}/", self.folder()));
        for url in urls.iter().cycle() {
            let ran = Command::new(env!("CARGO_BIN_EXE_retune"))
                .args([
                    "base-models",
                    "add-version",
                    self.model,
                    self.version,
                    &place,
                ])
                .env("RETUNE_URL", url)
                .env_remove("RETUNE_API_KEY")
                .stdin(Stdio::null())
                .output()
                .await?;
            if ran.status.success() {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let said = String::from_utf8_lossy(&ran.stderr);
                return Err(format!("retune base-models add-version: {said}").into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
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
            _ => json!({"Records": [{"eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "bucket"}, "object": {"key": key}}}]}),
        }
    }
}

pub fn folder(model: &str, version: &str) -> String {
    format!("bases/{model}/{version}")
}

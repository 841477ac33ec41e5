//! Fine-tunes, their policies and versions; and the job that carries one over.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    contract::{
        codes::FailureCode,
        ids::{FineTuneAliasMoveId, FineTuneId, FineTuneVersionId, RetuneId, TransferId},
        spec::{Fault, Spec, SpecError},
    },
    pipeline::{Recommendation, Verdict},
};

/// What makes a transfer of a fine-tune.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "policy_on", rename_all = "snake_case")]
pub enum On {
    /// A version of the base model that is newer than the fine-tune's own.
    NewVersion,
    /// The base model's alias, wherever it moves: where it stands counts, not which version is newer.
    AliasMoved,
    /// `POST /v1/retunes` alone.
    Manual,
}

/// How far a result goes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "policy_mode", rename_all = "snake_case")]
pub enum Mode {
    /// It waits for somebody to promote it.
    Propose,
    /// It is published; no alias moves.
    Publish,
    /// It is published and `production` moves to it, unless that stands on a newer base already; with
    /// `alias_moved`, if a followed alias stands on its base. When that moves back, so does `production`.
    /// Where `production` is protected, it is proposed, and an administrator moves it.
    Promote,
}

/// When a fine-tune is carried over, and how far the result goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub on: On,
    /// The base model's alias to follow; with `alias_moved` and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    pub mode: Mode,
}

/// A tuning that is to be carried over to what comes next.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FineTune {
    #[serde(skip)]
    pub id: FineTuneId,
    pub name: String,
    pub base_model: String,
    /// What it was tuned from: the source of every transfer.
    pub base_version: String,
    pub trajectory: String,
    #[schema(value_type = Option<crate::contract::spec::Data>)]
    pub data: Option<Value>,
    /// A job specification without source and target.
    #[schema(value_type = Object)]
    pub spec: Value,
    pub policy: Policy,
    /// Where each alias stands: numbers of versions by alias.
    #[schema(value_type = std::collections::BTreeMap<String, i32>)]
    pub aliases: Value,
    /// The aliases that only an administrator's key moves, whether they stand anywhere yet or not.
    pub protected_aliases: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Counts changes; the `ETag`.
    #[serde(skip)]
    pub revision: i64,
}

/// What has become of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "fine_tune_version_state", rename_all = "snake_case")]
pub enum VersionState {
    /// Waits for somebody to promote it.
    Proposed,
    Published,
    /// Its gate failed: there is a report and no model. For good.
    Rejected,
}

impl VersionState {
    /// The state of a result that has just arrived, where no alias that is protected keeps it waiting.
    pub fn of(verdict: Verdict, mode: Mode) -> Self {
        match (verdict, mode) {
            (Verdict::Rejected, _) => Self::Rejected,
            (Verdict::Published, Mode::Propose) => Self::Proposed,
            (Verdict::Published, Mode::Publish | Mode::Promote) => Self::Published,
        }
    }
}

/// What came of carrying a fine-tune over, with where it came from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FineTuneVersion {
    #[serde(skip)]
    pub id: FineTuneVersionId,
    pub fine_tune: String,
    /// 1, 2, 3 …
    pub version: i32,
    pub state: VersionState,
    /// The version before it that was not rejected.
    pub parent: Option<i32>,
    pub base_model: String,
    /// The registered version that it stands on; absent where the target was given by location.
    pub base_version: Option<String>,
    /// The transfer that made it.
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    #[schema(value_type = Option<Uuid>)]
    pub retune: Option<RetuneId>,
    pub source_base: String,
    pub trajectory: String,
    pub target_base: String,
    pub method: Option<String>,
    /// The folder of the result.
    pub uri: String,
    pub manifest_sha256: String,
    pub verdict: Verdict,
    pub recommendation: Option<Recommendation>,
    pub metrics: Value,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The version that an alias stands on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FineTuneAlias {
    pub alias: String,
    #[serde(with = "time::serde::rfc3339")]
    pub moved_at: OffsetDateTime,
    /// Only an administrator's key moves it.
    pub protected: bool,
    #[serde(flatten)]
    pub version: FineTuneVersion,
}

/// Which way an alias moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "alias_move", rename_all = "snake_case")]
pub enum Direction {
    Promoted,
    RolledBack,
}

/// One time that an alias moved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FineTuneAliasMove {
    /// The cursor of lists.
    #[serde(skip)]
    pub id: FineTuneAliasMoveId,
    pub fine_tune: String,
    pub alias: String,
    #[serde(rename = "move")]
    pub direction: Direction,
    /// Where it moved to.
    pub version: i32,
    /// Where it stood before; null: it was new.
    pub previous: Option<i32>,
    #[serde(with = "time::serde::rfc3339")]
    pub moved_at: OffsetDateTime,
}

/// A fine-tune without the target: what every job of it has in common.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Location of the base version that it was tuned from.
    pub source_base: &'a str,
    pub trajectory: &'a str,
    pub data: Option<&'a Value>,
    /// A job specification without source and target.
    pub spec: &'a Value,
}

impl Template<'_> {
    /// The job that carries the fine-tune onto `target`, as it is written.
    fn written(&self, target: &str) -> Value {
        let mut job = json!({
            "source": {"base": self.source_base, "trajectory": self.trajectory},
            "target": {"base": target},
        });
        if let (Some(job), Some(spec)) = (job.as_object_mut(), self.spec.as_object()) {
            job.extend(spec.clone());
            job.extend(self.data.map(|data| ("data".to_owned(), data.clone())));
        }

        job
    }

    /// The job that carries the fine-tune onto `target`, with its defaults written out.
    ///
    /// # Errors
    /// What is at fault with it, with pointers into the fine-tune.
    pub fn job(&self, target: &str) -> Result<Spec, SpecError> {
        let Some(spec) = self.spec.as_object() else {
            return Err(invalid(vec![Fault::new("/spec", "must be an object")]));
        };

        let mut faults: Vec<Fault> = ["source", "target"]
            .into_iter()
            .filter(|name| spec.contains_key(*name))
            .map(|name| Fault::new(format!("/spec/{name}"), "follows from the fine-tune"))
            .collect();
        if self.data.is_some() && spec.contains_key("data") {
            faults.push(Fault::new(
                "/spec/data",
                "data is given beside spec already",
            ));
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }

        Spec::from_json(&self.written(target)).map_err(|mut error| {
            for fault in &mut error.faults {
                fault.pointer = self.pointer(&fault.pointer);
            }
            error
        })
    }

    /// The job as it is queued. One that this version of the program would not accept any more is
    /// queued as it is written: it fails with its reason, and holds up no other.
    pub fn queued(&self, target: &str) -> Value {
        let written = self.written(target);
        self.job(target)
            .ok()
            .and_then(|spec| serde_json::to_value(spec).ok())
            .unwrap_or(written)
    }

    /// Where a field of the job lies in the fine-tune.
    pub fn pointer(&self, of_job: &str) -> String {
        match of_job {
            "/source/base" | "/target/base" => "/base_version".into(),
            "/source/trajectory" => "/trajectory".into(),
            data if self.data.is_some() && data.starts_with("/data") => data.into(),
            other => format!("/spec{other}"),
        }
    }
}

fn invalid(faults: Vec<Fault>) -> SpecError {
    SpecError {
        code: FailureCode::InvalidSpec,
        faults,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(data: Option<&Value>, spec: &Value) -> Vec<String> {
        let template = Template {
            source_base: "s:a",
            trajectory: "s:t",
            data,
            spec,
        };
        let error = template.job("s:b").expect_err("a fault");
        error
            .faults
            .into_iter()
            .map(|fault| fault.pointer)
            .collect()
    }

    #[test]
    fn a_job_is_put_together_and_its_faults_point_into_the_fine_tune() {
        let (data, spec) = (
            json!({"test": "s:d"}),
            json!({"output": "s:o", "gate": {"min": 0.5}}),
        );
        let template = Template {
            source_base: "s:a",
            trajectory: "s:t",
            data: Some(&data),
            spec: &spec,
        };
        let job = template.job("s:b").unwrap();
        assert_eq!(
            (&*job.source.base, &*job.target.base, &*job.output),
            ("s:a", "s:b", "s:o")
        );
        assert_eq!(job.data.unwrap().test.as_deref(), Some("s:d"));
        assert_eq!(
            template.queued("s:b")["options"]["timesteps"],
            10,
            "defaults are written out"
        );

        assert_eq!(refusal(None, &spec), ["/spec/gate"], "a gate needs data");
        assert_eq!(refusal(None, &json!({})), ["/spec"], "output is missing");
        assert_eq!(
            refusal(None, &json!({"output": "s:o", "x": 1})),
            ["/spec/x"]
        );
        assert_eq!(
            refusal(None, &json!({"output": "s:o", "target": {}})),
            ["/spec/target"]
        );
        let twice = json!({"output": "s:o", "data": {}});
        assert_eq!(refusal(Some(&data), &twice), ["/spec/data"]);
        assert_eq!(
            refusal(Some(&json!({"trian": "s:d"})), &spec),
            ["/data/trian"]
        );
        assert_eq!(refusal(None, &json!([])), ["/spec"]);
        let gone = json!({"output": "s:o", "methods": ["gone"]});
        let template = Template {
            source_base: "s:a",
            trajectory: "s:t",
            data: None,
            spec: &gone,
        };
        assert_eq!(
            template.queued("s:b")["methods"],
            gone["methods"],
            "it fails with its reason"
        );
    }

    #[test]
    fn what_a_gate_rejected_is_rejected_in_every_mode() {
        for mode in [Mode::Propose, Mode::Publish, Mode::Promote] {
            assert_eq!(
                VersionState::of(Verdict::Rejected, mode),
                VersionState::Rejected
            );
        }
        assert_eq!(
            VersionState::of(Verdict::Published, Mode::Propose),
            VersionState::Proposed
        );
        assert_eq!(
            VersionState::of(Verdict::Published, Mode::Promote),
            VersionState::Published
        );
    }
}

//! Faults that lie in the inputs of a job of their own: what has the name of a file and is none, what leads
//! outside the roots, what changes while it is read.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Failure,
    case::{self, Expected, is_the_sum, large_job},
    client::Client,
    faults::{Draw, Hit},
    world::World,
};
use crate::support::models::Files;

/// Between two looks at what a job does, and between two replacements of a file.
const LOOK: Duration = Duration::from_millis(5);

/// The name of a model's weights.
const WEIGHTS: &str = "model.safetensors";

/// A job whose new base has a pipe for a file: it is refused and holds nobody up.
pub async fn pipe(world: &World, draw: Draw) -> Result<Hit, Failure> {
    let guest = Guest::arrive(world)?;
    let name = if draw.aim < 0.5 {
        "config.json"
    } else {
        WEIGHTS
    };
    let path = guest.base.join(name);
    fs::remove_file(&path)?;
    mkfifo(&path, Mode::S_IRWXU)?;
    guest.carry(Expected::Failed("not_a_file")).await
}

/// A job whose weights are now a file and now a link to one outside the roots.
pub async fn link(world: &World, draw: Draw) -> Result<Hit, Failure> {
    let guest = Guest::arrive(world)?;
    let secret = guest.secret()?;
    let swapping = async {
        let begun = Instant::now();
        while begun.elapsed() < world.lease.mul_f64(0.2 + 0.3 * draw.length) {
            guest.replace(|next| symlink(&secret, next))?;
            sleep(LOOK).await;
            guest.replace(|next| fs::write(next, &guest.first))?;
            sleep(LOOK).await;
        }
        Ok(())
    };
    let expected = Expected::PublishedOr(&["location_not_allowed", "input_changed"]);
    let (hit, swapped) = tokio::join!(guest.carry(expected), swapping);
    swapped.map_err(|error: std::io::Error| error)?;
    hit
}

/// A job whose weights become others while it runs, by another file of the name or in place.
pub async fn change(world: &World, draw: Draw) -> Result<Hit, Failure> {
    let guest = Guest::arrive(world)?;
    let second = case::large_model(SECOND).weights;
    let changing = async {
        guest.started().await;
        sleep(Duration::from_millis((700.0 * draw.length) as u64)).await;
        if draw.aim < 0.5 {
            fs::write(guest.base.join(WEIGHTS), second)
        } else {
            guest.replace(|next| fs::write(next, second))
        }
    };
    let expected = Expected::PublishedOr(&["input_changed", "malformed_safetensors"]);
    let (hit, changed) = tokio::join!(guest.carry(expected), changing);
    changed?;
    hit
}

/// A large job of which nothing is changed: its result is written in parts.
pub async fn large(world: &World) -> Result<Hit, Failure> {
    Guest::arrive(world)?.carry(Expected::Published).await
}

/// Seeds of the new bases.
const FIRST: u64 = 103;
const SECOND: u64 = 104;
const OUTSIDE: u64 = 105;

/// A job with a new base of its own, on files.
struct Guest<'a> {
    world: &'a World,
    key: String,
    base: PathBuf,
    /// The weights that the base has at first.
    first: Vec<u8>,
}

impl<'a> Guest<'a> {
    fn arrive(world: &'a World) -> Result<Self, Failure> {
        let key = format!("guest-{}", Uuid::now_v7());
        let base = world.inputs.join(&key);
        fs::create_dir(&base)?;
        let Files {
            config,
            weights: first,
        } = case::large_model(FIRST);
        fs::write(base.join("config.json"), config)?;
        fs::write(base.join(WEIGHTS), &first)?;
        Ok(Self {
            world,
            key,
            base,
            first,
        })
    }

    /// A model outside the roots.
    fn secret(&self) -> Result<PathBuf, Failure> {
        let path = self
            .world
            .inputs
            .with_file_name(format!("{}.secret", self.key));
        fs::write(&path, case::large_model(OUTSIDE).weights)?;
        Ok(path)
    }

    /// Puts another file in the place of the weights, at once.
    fn replace<T>(&self, by: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<()> {
        let next = self.world.inputs.join(format!("{}.next", self.key));
        by(&next)?;
        fs::rename(next, self.base.join(WEIGHTS))
    }

    /// Until a worker has the job; not for ever, for the database may be away.
    async fn started(&self) {
        let begun = Instant::now();
        while begun.elapsed() < self.world.lease {
            let claimed = sqlx::query_scalar::<_, bool>(
                "SELECT attempt > 0 FROM transfers WHERE idempotency_key = $1",
            );
            let claimed = claimed
                .bind(&self.key)
                .fetch_optional(&self.world.pool)
                .await;
            if matches!(claimed, Ok(Some(true))) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Submits the job, follows it to its end, and looks at what came of it.
    async fn carry(&self, expected: Expected) -> Result<Hit, Failure> {
        let at = OffsetDateTime::now_utc();
        let client = Client::new(&self.world.urls, &self.world.book)?;
        let spec = large_job(&format!("file://{}/", self.base.display()));
        let transfer = client.carry(&self.key, &spec, expected).await?;
        if transfer["status"] == "succeeded"
            && let Err(error) = self.look(&transfer)
        {
            self.world
                .book
                .complain(format!("{}: {error}", transfer["id"]));
        }
        Ok(Hit {
            at,
            ..Hit::now(Vec::new())
        })
    }

    /// Whether the result comes of the very new base that its manifest names.
    fn look(&self, transfer: &Value) -> Result<(), Failure> {
        let id = transfer["id"].as_str().ok_or("no id")?;
        let folder = self.world.store.bucket().join("chaos/out").join(id);
        let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
        let inputs = manifest["inputs"].as_array().ok_or("no inputs")?;
        let is_read = |seed: &u64| {
            let digest = hex::encode(Sha256::digest(case::large_model(*seed).weights));
            inputs.iter().any(|input| input["sha256"] == digest)
        };
        let read: Vec<u64> = [FIRST, SECOND, OUTSIDE]
            .into_iter()
            .filter(is_read)
            .collect();
        match read[..] {
            [OUTSIDE] => Err("a file outside the roots was read".into()),
            [seed] if is_the_sum(&fs::read(folder.join(WEIGHTS))?, seed)? => Ok(()),
            [_] => Err("the model is not that of the new base which the manifest names".into()),
            _ => Err(format!("{} new bases are named by the manifest", read.len()).into()),
        }
    }
}

//! Injects one fault.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::{process::Command, time::timeout};
use uuid::Uuid;

use super::{
    super::{
        Failure,
        fleet::{Role, children_of},
        inputs,
        store::Held,
        world::World,
    },
    Draw, Hit, Injected, Kind,
};

/// Between two looks whether a worker works.
const LOOK: Duration = Duration::from_millis(50);

/// A request that was held back is answered so soon after it was let through.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Injects the fault and waits for its end. `None`: there was nothing that it could hit.
pub async fn inject(world: &World, draw: Draw) -> Result<Option<Injected>, Failure> {
    // A tenth of a lease at most, or a fiftieth at least.
    let short = world.lease.mul_f64(0.02 + 0.08 * draw.length);
    if let Some(mishap) = draw.kind.mishap() {
        let hit = running(world, None).await;
        let share = if draw.aim < 0.5 { 1.0 } else { 0.3 };
        let length = world.lease.mul_f64(0.02 + 0.2 * draw.length);
        let requests = world
            .store
            .misbehave(mishap, share, length, world.lease)
            .await;
        return Ok((requests > 0).then(|| Hit { requests, ..hit }.by(draw.kind)));
    }
    if draw.kind.is_a_guest() && !world.takes_guests {
        return Ok(None);
    }
    let hit = match draw.kind {
        Kind::WorkerKill | Kind::ServeKill => kill(world, draw).await?,
        Kind::WorkerStop => stop(world, draw).await?,
        Kind::StorageLate | Kind::DeletionLate => delay(world, draw).await?,
        Kind::CompletionLate => {
            let (done, hit) = tokio::join!(inputs::large(world), delay(world, draw));
            done?;
            hit?
        }
        Kind::InputPipe => Some(inputs::pipe(world, draw).await?),
        Kind::InputLink => Some(inputs::link(world, draw).await?),
        Kind::InputChanged => Some(inputs::change(world, draw).await?),
        Kind::DiskFull => fill_disk(world, draw, short).await?,
        kind => {
            // One thing at a time.
            let _turn = world.database_turn.lock().await;
            let hit = running(world, None).await;
            trouble_database(world, kind, draw, short).await?;
            Some(hit)
        }
    };
    Ok(hit.map(|hit| hit.by(draw.kind)))
}

async fn trouble_database(
    world: &World,
    kind: Kind,
    draw: Draw,
    hold: Duration,
) -> Result<(), Failure> {
    match kind {
        Kind::PostgresRestart => {
            let how = if draw.aim < 0.5 {
                Signal::SIGINT
            } else {
                Signal::SIGQUIT
            };
            let postgres = std::sync::Arc::clone(&world.postgres);
            tokio::task::spawn_blocking(move || postgres.restart(how)).await?
        }
        Kind::ConnectionExhaustion => world.postgres.take_connections(hold).await.map(drop),
        Kind::PoolExhaustion => world.postgres.lock_queue(hold).await,
        _ => {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE application_name = 'retune' ORDER BY random() LIMIT 1";
            sqlx::raw_sql(kill).execute(&world.pool).await?;
            Ok(())
        }
    }
}

async fn kill(world: &World, draw: Draw) -> Result<Option<Hit>, Failure> {
    let serves = world.fleet.of(|role| matches!(role, Role::Serve { .. }));
    let serve = draw.one_of(&serves).ok_or("a serve")?;
    let serve_pid = world.fleet.pid(serve);
    if draw.kind == Kind::ServeKill {
        let hit = running(world, Some(&children_of(serve_pid))).await;
        world.fleet.kill(serve);
        return Ok(Some(hit));
    }
    let works = world.fleet.of(|role| role == Role::Work);
    // Its own workers are targets as the others are.
    let place = (draw.aim * (works.len() + 1) as f64) as usize;
    let Some(work) = works.get(place).copied() else {
        let children = children_of(serve_pid);
        let Some(child) = children.first().copied() else {
            return Ok(None);
        };
        let hit = running(world, Some(&[child])).await;
        let child = nix::unistd::Pid::from_raw(child);
        return Ok(nix::sys::signal::kill(child, Signal::SIGKILL)
            .is_ok()
            .then_some(hit));
    };
    let hit = running(world, Some(&[world.fleet.pid(work)])).await;
    world.fleet.kill(work);
    Ok(Some(hit))
}

/// Kills the worker whose request is on its way; it arrives when a successor has had time to finish.
async fn delay(world: &World, draw: Draw) -> Result<Option<Hit>, Failure> {
    let hold = world.lease.mul_f64(1.5 + draw.length);
    let held = draw.kind.held().unwrap_or(Held::Any);
    // A guest has to be read and computed first.
    let patience = world.lease * 3 + Duration::from_secs(30);
    let Some(delayed) = world.store.delay_one(held, hold, patience).await else {
        return Ok(None);
    };
    let pid = sqlx::query_scalar(
        "SELECT w.pid FROM transfers t JOIN workers w ON w.id = t.worker WHERE t.id = $1",
    );
    let id: Uuid = delayed.transfer.parse()?;
    let pid: Option<i32> = pid.bind(id).fetch_optional(&world.pool).await?;
    let Some(pid) = pid else { return Ok(None) };
    let hit = Hit::now(vec![id]);
    let works = world.fleet.of(|role| role == Role::Work);
    if let Some(work) = works.into_iter().find(|work| world.fleet.pid(*work) == pid) {
        world.fleet.kill(work);
    } else {
        // A worker of a `serve`, which may have ended just now.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }
    // Only a request that arrives at last has struck.
    let answer = delayed.answered(hold + ANSWER_PATIENCE).await;
    Ok(answer.map(|_| Hit { requests: 1, ..hit }))
}

/// A worker that holds a lease, and that lease; `None` where the drawn one gets none within a lease's time.
async fn working(world: &World, draw: Draw) -> Result<Option<(i32, Hit)>, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < world.lease {
        let works = world.fleet.of(|role| role == Role::Work);
        let pid = world.fleet.pid(draw.one_of(&works).ok_or("a worker")?);
        let hit = running(world, Some(&[pid])).await;
        if !hit.touched.is_empty() {
            return Ok(Some((pid, hit)));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

/// Only some may be stopped at once; others must be there to take over.
async fn stop(world: &World, draw: Draw) -> Result<Option<Hit>, Failure> {
    let Ok(_permit) = world.stops.try_acquire() else {
        return Ok(None);
    };
    let Some((pid, hit)) = working(world, draw).await? else {
        return Ok(None);
    };
    let pid = nix::unistd::Pid::from_raw(pid);
    if nix::sys::signal::kill(pid, Signal::SIGSTOP).is_err() {
        return Ok(None);
    }
    tokio::time::sleep(world.lease.mul_f64(1.05 + 0.2 * draw.length)).await;
    // By its number then: the place may have been taken by a successor.
    let _ = nix::sys::signal::kill(pid, Signal::SIGCONT);
    Ok(Some(hit))
}

/// The limit that stands for a full disk, in bytes a file.
const FULL: &str = "--fsize=4096:";

async fn fill_disk(world: &World, draw: Draw, length: Duration) -> Result<Option<Hit>, Failure> {
    let Some((pid, hit)) = working(world, draw).await? else {
        return Ok(None);
    };
    if !limit(pid, FULL).await? {
        return Ok(None);
    }
    tokio::time::sleep(length).await;
    limit(pid, "--fsize=unlimited:").await?;
    Ok(Some(hit))
}

async fn limit(pid: i32, what: &str) -> Result<bool, Failure> {
    let mut command = Command::new("prlimit");
    command
        .args(["--pid", &pid.to_string(), what])
        .stderr(std::process::Stdio::null());
    Ok(command.status().await?.success())
}

/// The transfers that these processes (all, if none are named) hold leases of. Nothing where the
/// database does not say so quickly: the fault is due now.
async fn running(world: &World, pids: Option<&[i32]>) -> Hit {
    let query = sqlx::query_scalar(
        "SELECT t.id FROM transfers t LEFT JOIN workers w ON w.id = t.worker
         WHERE t.status IN ('running', 'cancelling') AND t.lease_expires_at > now()
           AND ($1::int[] IS NULL OR w.pid = ANY($1))",
    );
    let rows = query.bind(pids.map(<[i32]>::to_vec)).fetch_all(&world.pool);
    let touched = match timeout(Duration::from_millis(500), rows).await {
        Ok(Ok(rows)) => rows,
        _ => Vec::new(),
    };
    Hit::now(touched)
}

//! The run: clients submit, faults strike, and in the end everything is looked at.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    Failure, case,
    check::{Evidence, Judgement},
    client::Client,
    faults::{Deck, Draw, Injected, Kind, inject},
    fleet::is_defect,
    recovery::{self, Step},
    world::{Size, World},
};

/// Faults that go on at the same time.
const AT_ONCE: usize = 8;

/// How long and how hard a run is.
#[derive(Clone, Debug)]
pub struct Plan {
    pub size: Size,
    pub faults: usize,
    pub transfers: usize,
    /// Faults end then, whatever is missing; else when there are enough, and one of every kind.
    pub limit: Duration,
    /// Mean time between two faults.
    pub pace: Duration,
    pub clients: usize,
}

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    pub injected: Vec<Injected>,
    pub steps: Vec<Step>,
    pub evidence: Evidence,
    pub judgement: Judgement,
    pub seconds: f64,
    /// Processes that ended by themselves and were started again.
    pub restarts: usize,
}

/// What the tasks of a run share.
struct Run {
    world: Arc<World>,
    seed: u64,
    next: AtomicUsize,
    enough: AtomicBool,
}

/// Runs the plan in `folder`, which holds the logs afterwards.
pub async fn run(plan: &Plan, folder: &Path) -> Result<Outcome, Failure> {
    under_load(plan, folder, async |run| {
        strike(&run.world, plan, &AtomicBool::new(false)).await
    })
    .await
}

/// Restarts every process in its turn, by SIGTERM, as a new version would be rolled out.
pub async fn roll(plan: &Plan, folder: &Path) -> Result<Outcome, Failure> {
    let rolled = async |run: &Arc<Run>| {
        let ends = run.world.roll().await?;
        match ends.iter().find(|status| !status.success()) {
            Some(status) => Err(format!("told to end, a process ended with {status}").into()),
            None => Ok(Vec::new()),
        }
    };
    under_load(plan, folder, rolled).await
}

/// Does `trouble` while clients submit and wait, and judges in the end.
async fn under_load(
    plan: &Plan,
    folder: &Path,
    trouble: impl AsyncFnOnce(&Arc<Run>) -> Result<Vec<Injected>, Failure>,
) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let run = Arc::new(Run {
        world: Arc::new(World::open(folder, &plan.size).await?),
        seed: plan.size.seed,
        next: AtomicUsize::new(0),
        enough: AtomicBool::new(false),
    });
    let mut clients = JoinSet::new();
    for _ in 0..plan.clients {
        clients.spawn(submit(Arc::clone(&run)));
    }
    let injected = trouble(&run).await;
    while injected.is_ok() && run.next.load(Ordering::SeqCst) < plan.transfers {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    run.enough.store(true, Ordering::SeqCst);
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let run = Arc::into_inner(run).ok_or("a task still runs")?;
    conclude(run, injected?, begun).await
}

async fn conclude(run: Run, injected: Vec<Injected>, begun: Instant) -> Result<Outcome, Failure> {
    let world = Arc::into_inner(run.world).ok_or("a task still runs")?;
    let evidence = Evidence::gather(&world.book, &world.pool, &world.store).await?;
    let steps = recovery::steps(&world.pool).await?;
    let mut judgement = evidence.judge();
    let ends = world.fleet.stop().await?;
    for (role, status) in ends.iter().filter(|(_, status)| is_defect(*status)) {
        judgement
            .other
            .push(format!("{role:?} ended by itself: {status}"));
    }
    let (seconds, restarts) = (begun.elapsed().as_secs_f64(), ends.len());
    Ok(Outcome {
        injected,
        steps,
        evidence,
        judgement,
        seconds,
        restarts,
    })
}

/// One client: job after job until it is enough.
async fn submit(run: Arc<Run>) -> Result<(), Failure> {
    let client = Client::new(&run.world.urls, &run.world.book)?;
    while !run.enough.load(Ordering::SeqCst) {
        let number = run.next.fetch_add(1, Ordering::SeqCst);
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        rng.set_stream(number as u64 + 1);
        let (spec, expected) = case::job(&mut rng);
        client
            .carry(&format!("job-{number}"), &spec, expected)
            .await?;
    }
    Ok(())
}

/// Fault after fault, at the plan's pace, some at the same time, until there are enough or it is
/// over.
pub async fn strike(
    world: &Arc<World>,
    plan: &Plan,
    over: &AtomicBool,
) -> Result<Vec<Injected>, Failure> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.size.seed);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut going = JoinSet::new();
    let mut strikes = Strikes {
        deck: Deck::shuffled(&mut rng, world.takes_guests),
        injected: Vec::new(),
        begun: Instant::now(),
    };

    while strikes.begun.elapsed() < plan.limit && !over.load(Ordering::SeqCst) {
        while let Some(done) = going.try_join_next() {
            strikes.note(done?);
        }
        if strikes.injected.len() + going.len() >= plan.faults && !strikes.deck.owes() {
            // A fault that goes on may find nothing to strike; then another takes its place.
            let Some(done) = going.join_next().await else {
                break;
            };
            strikes.note(done?);
            continue;
        }

        let place = Arc::clone(&places).acquire_owned().await?;
        let draw = Draw::new(strikes.deck.draw(&mut rng), &mut rng);
        let world = Arc::clone(world);
        going.spawn(async move {
            let done = inject(&world, draw).await;
            drop(place);
            Struck {
                kind: draw.kind,
                done,
            }
        });
        tokio::time::sleep(plan.pace.mul_f64(2.0 * rng.random::<f64>())).await;
    }

    while let Some(done) = going.join_next().await {
        strikes.note(done?);
    }
    Ok(strikes.injected)
}

/// What came of a fault. A fault may fail because another one is in its way.
struct Struck {
    kind: Kind,
    done: Result<Option<Injected>, Failure>,
}

/// The faults of a run.
struct Strikes {
    /// Those to come.
    deck: Deck,
    injected: Vec<Injected>,
    begun: Instant,
}

impl Strikes {
    /// Counts what was really there. A kind that has not struck yet is drawn again.
    fn note(&mut self, Struck { kind, done }: Struck) {
        match done {
            Ok(Some(fault)) => {
                self.injected.push(fault);
                if self.injected.len().is_multiple_of(100) {
                    let seconds = self.begun.elapsed().as_secs();
                    eprintln!("{} faults after {seconds} s", self.injected.len());
                }
                return;
            }
            Ok(None) => {}
            Err(error) => eprintln!("{} was not to be had: {error}", kind.name()),
        }
        if self.injected.iter().all(|fault| fault.kind != kind) {
            self.deck.owe(kind);
        }
    }
}

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    tensors::HostTensor,
    training::{Dataset, Evaluation},
};

/// A model that predicts 1 where it is right, of samples labelled 1.
struct Fake<'b> {
    blocks: &'b Blocks,
    /// Which samples it is right on, in the order of the race.
    right: Vec<bool>,
    record: Record,
    advances: usize,
}

impl<'b> Fake<'b> {
    fn new(blocks: &'b Blocks, right: Vec<bool>) -> Self {
        Self {
            blocks,
            right,
            record: Record::default(),
            advances: 0,
        }
    }
}

impl Runner for Fake<'_> {
    fn record(&self) -> &Record {
        &self.record
    }

    fn advance(&mut self) -> Result<(), TransferError> {
        let seen = self.record.samples();
        let block = self
            .blocks
            .after(seen)
            .expect("nobody sees more than there is");
        let right = &self.right[seen..seen + block.len()];
        let predictions: Vec<u32> = right.iter().map(|&right| u32::from(right)).collect();
        self.record.add(
            &Evaluation {
                loss: 0.5,
                accuracy: 0.0,
                predictions,
            },
            block,
        );
        self.advances += 1;
        Ok(())
    }
}

fn blocks(samples: usize) -> Blocks {
    let inputs = HostTensor::from_f32(vec![samples, 1], vec![0.0; samples]);
    Blocks::draw(&Dataset::from_floats(inputs, vec![1; samples]), samples, 0)
}

/// Right on the samples that `is_right` says.
fn right(samples: usize, is_right: impl Fn(usize) -> bool) -> Vec<bool> {
    (0..samples).map(is_right).collect()
}

fn race(blocks: &Blocks) -> Race<'_> {
    Race {
        blocks,
        rules: Rules::default(),
    }
}

#[test]
fn what_is_far_behind_sees_one_block_and_the_others_go_on() {
    let blocks = blocks(512);
    let mut poor = Fake::new(&blocks, right(512, |i| i % 10 == 0));
    let mut good = Fake::new(&blocks, right(512, |i| i % 10 != 0));
    // Ahead of the good one by one sample in fifty, and behind by one in a hundred.
    let mut best = Fake::new(&blocks, right(512, |i| i % 10 != 0 || i % 50 == 10));
    let won = race(&blocks)
        .run(&mut [&mut poor, &mut good, &mut best])
        .unwrap();
    assert_eq!(won, 2);
    assert_eq!((poor.record().samples(), poor.advances), (32, 1));
    assert_eq!(
        good.record().samples(),
        512,
        "ten samples ahead of none are not enough to drop it"
    );
    assert_eq!(best.advances, 5);
}

#[test]
fn of_equals_the_first_wins_and_the_others_are_let_go_early() {
    let blocks = blocks(512);
    let every = |i: usize| i.is_multiple_of(3);
    let mut first = Fake::new(&blocks, right(512, every));
    let mut second = Fake::new(&blocks, right(512, every));
    let rules = Rules {
        margin: 0.03,
        ..Rules::default()
    };
    let race = Race {
        blocks: &blocks,
        rules,
    };
    assert_eq!(race.run(&mut [&mut first, &mut second]).unwrap(), 0);
    // z² / (n + z²) with z = 2.326, that of an error of one in a hundred: 5.41 / 261.41 is below 0.03.
    assert_eq!(first.record().samples(), 256);
    // A second race does not evaluate anything again.
    let advances = first.advances;
    assert_eq!(race.run(&mut [&mut second, &mut first]).unwrap(), 0);
    assert_eq!(first.advances, advances);
}

#[test]
fn a_model_stands_beside_the_old_one_by_what_is_shown() {
    let blocks = blocks(512);
    let standing = |own: &dyn Fn(usize) -> bool, old: &dyn Fn(usize) -> bool| {
        let mut own = Fake::new(&blocks, right(512, own));
        let mut old = Fake::new(&blocks, right(512, old));
        let found = race(&blocks).standing(&mut own, &mut old).unwrap();
        (found, own.record().samples())
    };
    let most = |i: usize| !i.is_multiple_of(8);
    assert_eq!(standing(&most, &most), (Standing::Ahead, 512));
    // One of 512 is lost: shown to be within a point.
    assert_eq!(
        standing(&|i| most(i) && i != 3, &most),
        (Standing::WithinMargin, 512)
    );
    // Six of 512 are lost: it may be two points. Eight are shown to be no chance.
    assert_eq!(
        standing(&|i| most(i) && i % 100 != 5, &most),
        (Standing::Undecided, 512)
    );
    assert_eq!(
        standing(&|i| most(i) && i % 70 != 5, &most),
        (Standing::Behind, 512)
    );
    assert_eq!(standing(&|i| i % 8 == 1, &most), (Standing::Behind, 32));
    assert_eq!(standing(&most, &|i| i % 8 == 1), (Standing::Ahead, 32));
}

/// A race of equals and one better arm drops the better one less often than it may.
#[test]
fn the_best_arm_is_dropped_less_often_than_the_error_allows() {
    let blocks = blocks(256);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut lost, mut samples) = (0, 0);
    for _ in 0..300 {
        let shared: Vec<f64> = (0..256).map(|_| rng.random()).collect();
        // All are right on half of the samples; beyond that by chance, the last by six points more often.
        let drawn = |share: f64| -> Vec<bool> {
            shared
                .iter()
                .map(|&s| s < 0.5 || rng.random::<f64>() < share)
                .collect()
        };
        let arms = [0.4, 0.4, 0.4, 0.52].map(drawn);
        let mut arms = arms.map(|right| Fake::new(&blocks, right));
        let [a, b, c, d] = &mut arms;
        race(&blocks).run(&mut [a, b, c, d]).unwrap();
        samples += arms.iter().map(|arm| arm.record().samples()).sum::<usize>();
        // Dropped, that is with another still running further.
        let farthest = arms.iter().map(|arm| arm.record().samples()).max();
        lost += usize::from(Some(arms[3].record().samples()) < farthest);
    }
    assert!(lost <= 15, "{lost} of 300");
    assert!(
        samples < 300 * 4 * 256,
        "{samples}: something was dropped before the end"
    );
}

#[test]
fn records_add_up_block_by_block() {
    let blocks = blocks(60);
    let mut arm = Fake::new(&blocks, right(60, |i| i < 30));
    race(&blocks).finish(&mut arm).unwrap();
    let record = arm.record();
    assert!((record.accuracy() - 0.5).abs() < 1e-12);
    assert!((record.accuracy_within(32) - 30.0 / 32.0).abs() < 1e-12);
    assert!((record.loss_within(32) - 0.5).abs() < 1e-12 && (record.loss() - 0.5).abs() < 1e-12);
    assert!(record.loss_within(61).is_nan());
}

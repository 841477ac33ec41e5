//! The search of step and α over validation samples.
//!
//! 1. The first look: the last step, at α = 1 or as given.
//! 2. The steps, where they are more than a line: by halving the stride, on few samples and by their loss;
//!    then the best of them races the last.
//! 3. α at that step, where it is searched: the minimum of a parabola through three losses, on few samples;
//!    then it and its neighbours race 1.
//!
//! A point is evaluated on a block once.

use std::cell::Cell;

use super::{
    Incumbents, Score, SelectedPoint, Selection,
    line::{LINE, LOOK, MOST_ARMS, PATIENCE, arms, minimum},
};
use crate::transfer::{
    error::TransferError,
    options::{Alpha, Step},
    problem::Problem,
    race::{Arm, Race, Runner, Track},
    transport::Transport,
};

/// What is searched.
pub struct Search<'p> {
    pub problem: &'p Problem<'p>,
    pub race: Race<'p>,
    pub transports: &'p [Transport],
}

/// `θ_B⁰ + α π_s (θ_A^s − θ_A⁰)`
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    step: usize,
    alpha: f64,
}

/// The points that were looked at.
struct Trials<'p> {
    search: &'p Search<'p>,
    track: Track<'p>,
    points: Vec<Point>,
    arms: Vec<Arm<'p>>,
}

impl Search<'_> {
    /// Chooses among the points.
    pub fn run(
        &self,
        selection: Selection,
        incumbents: Incumbents,
    ) -> Result<SelectedPoint, TransferError> {
        let Search { problem, race, .. } = self;
        let (looked, all) = (Cell::new(0), self.most_samples());
        let track = Track {
            learner: problem.learner,
            profiler: problem.profiler,
            blocks: race.blocks,
            go_on: &|samples: usize| {
                let seen = looked.get();
                looked.set(seen + samples);
                (problem.go_on)(seen.min(all), all)
            },
        };

        let mut trials = Trials {
            search: self,
            track,
            points: Vec::new(),
            arms: Vec::new(),
        };
        let chosen = trials.choose(selection, incumbents)?;
        if selection.completes {
            race.finish(&mut trials.arms[chosen])?;
        }
        problem.step(all, all)?;
        Ok(trials.found(chosen, selection.alpha))
    }

    /// What a search looks at, at most.
    fn most_samples(&self) -> usize {
        MOST_ARMS * self.race.blocks.samples() + LINE.len() * LOOK
    }

    /// Whether a smaller α at the last step is an earlier step.
    fn is_line(&self) -> bool {
        let last = self.transports.last();
        let is_same = self
            .transports
            .iter()
            .zip(last)
            .all(|(one, last)| one.is_same(last));
        is_same && self.transports.len() > 1 && self.problem.trajectory.is_straight()
    }

    /// A fit in closed form is made for α = 1 at the end of the tuning.
    fn is_fitted(&self) -> bool {
        self.transports
            .iter()
            .any(|transport| transport.fitted().is_some())
    }
}

impl<'p> Trials<'p> {
    /// The position of the chosen point.
    fn choose(
        &mut self,
        selection: Selection,
        incumbents: Incumbents,
    ) -> Result<usize, TransferError> {
        let Incumbents { mut old, leader } = incumbents;
        let last = self.search.transports.len();
        let first = self.at(Point {
            step: last,
            alpha: selection.alpha.first(),
        });

        let (search, race) = (self.search, self.search.race);
        let searches_alpha = selection.alpha.is_searched() && !search.is_fitted();
        let searches_steps = selection.step == Step::Best
            && last > 1
            && !search.is_fitted()
            && !(searches_alpha && search.is_line());
        let is_settled = !(searches_alpha || searches_steps);

        if let Some(old) = old.as_deref_mut().filter(|_| !is_settled)
            && race.standing(&mut self.arms[first], old)?.is_enough()
        {
            return Ok(first);
        }

        let mut finalists = vec![first];
        if searches_steps {
            finalists = self.steps(first)?;
        }
        if searches_alpha {
            let step = self.winner(&finalists, None)?;
            finalists = self.alphas(self.points[step].step)?;
        }
        // The first candidate has the old tuned model to be compared with.
        self.winner(&finalists, leader.or(old.filter(|_| !selection.completes)))
    }

    /// The last step, and the one of least loss that halving the stride finds, where that is another.
    fn steps(&mut self, first: usize) -> Result<Vec<usize>, TransferError> {
        let Point { step: last, alpha } = self.points[first];
        let mut best = (last, self.loss(first)?);
        let (mut stride, mut in_vain) = (last / 2, 0);

        while stride > 0 && in_vain < PATIENCE {
            let around = [best.0.saturating_sub(stride), best.0 + stride];
            let before = best;
            for step in around.into_iter().filter(|step| (1..=last).contains(step)) {
                let position = self.at(Point { step, alpha });
                let loss = self.loss(position)?;
                if loss < best.1 {
                    best = (step, loss);
                }
            }
            in_vain = if best.0 == before.0 { in_vain + 1 } else { 0 };
            stride /= 2;
        }

        let mut finalists = vec![first];
        if best.0 != last {
            finalists.push(self.at(Point {
                step: best.0,
                alpha,
            }));
        }
        Ok(finalists)
    }

    /// 1, the minimum of the loss along the line, and the grid's neighbours of that.
    fn alphas(&mut self, step: usize) -> Result<Vec<usize>, TransferError> {
        let mut losses = [0.0; LINE.len()];
        for (loss, alpha) in losses.iter_mut().zip(LINE) {
            let position = self.at(Point { step, alpha });
            *loss = self.loss(position)?;
        }

        let arms = arms(minimum(losses));
        Ok(arms
            .into_iter()
            .map(|alpha| self.at(Point { step, alpha }))
            .collect())
    }

    /// The best of some points, and of an incumbent that may be better than all of them.
    fn winner(
        &mut self,
        finalists: &[usize],
        incumbent: Option<&mut dyn Runner>,
    ) -> Result<usize, TransferError> {
        for (position, arm) in self.arms.iter_mut().enumerate() {
            if !finalists.contains(&position) {
                arm.rest();
            }
        }

        let mut racing: Vec<(usize, &mut Arm<'p>)> = self
            .arms
            .iter_mut()
            .enumerate()
            .filter(|(position, _)| finalists.contains(position))
            .collect();
        racing.sort_by_key(|(position, _)| finalists.iter().position(|one| one == position));
        let has_incumbent = incumbent.is_some();
        let mut runners: Vec<&mut dyn Runner> = Vec::new();
        if let Some(incumbent) = incumbent {
            runners.push(incumbent);
        }
        for (_, arm) in racing {
            runners.push(arm);
        }

        let won = self.search.race.run(&mut runners)?;
        drop(runners);
        match won.checked_sub(usize::from(has_incumbent)) {
            Some(own) => Ok(finalists[own]),
            None => Ok(self.farthest(finalists)),
        }
    }

    /// Of points that an incumbent has beaten, the one that stayed in the race for longest.
    fn farthest(&self, finalists: &[usize]) -> usize {
        let seen = finalists.iter().map(|&position| {
            let record = self.arms[position].record();
            (position, (record.samples(), record.accuracy()))
        });
        let best = seen.reduce(|best, one| if one.1 > best.1 { one } else { best });
        best.map_or(0, |(position, _)| position)
    }

    /// The mean loss of a point on the first samples.
    fn loss(&mut self, position: usize) -> Result<f64, TransferError> {
        let blocks = self.search.race.blocks;
        let look = blocks.least(LOOK);
        self.search
            .race
            .bring(&mut [&mut self.arms[position]], &[0], look)?;
        let loss = self.arms[position]
            .record()
            .loss_within(blocks.within(look));

        Ok(if loss.is_finite() {
            loss
        } else {
            f64::INFINITY
        })
    }

    /// The position of a point, which is looked at the first time that it is asked for.
    fn at(&mut self, point: Point) -> usize {
        if let Some(position) = self.points.iter().position(|one| *one == point) {
            return position;
        }

        let search = self.search;
        let transport = &search.transports[point.step - 1];
        self.points.push(point);
        self.arms.push(Arm::new(self.track, move || {
            search.problem.raced(transport, point.step, point.alpha)
        }));
        self.points.len() - 1
    }

    /// The chosen point, and the curves of what was looked at.
    fn found(mut self, chosen: usize, alpha: Alpha) -> SelectedPoint {
        let point = self.points[chosen];
        let looked: Vec<usize> = (0..self.points.len())
            .filter(|&position| self.arms[position].record().samples() > 0)
            .collect();

        let mut steps: Vec<Score> = looked
            .iter()
            .filter_map(|&at| {
                let step = self.step_at(self.points[at], alpha.first())?;
                Some(Score::of(step, self.arms[at].record()))
            })
            .collect();
        steps.sort_by_key(|score| score.step);

        let at_step = looked
            .iter()
            .filter(|&&at| self.points[at].step == point.step);
        let mut alphas: Vec<(f64, Score)> = at_step
            .map(|&at| {
                (
                    self.points[at].alpha,
                    Score::of(point.step, self.arms[at].record()),
                )
            })
            .collect();
        alphas.retain(|_| alpha == Alpha::Search);
        alphas.sort_by(|(a, _), (b, _)| a.total_cmp(b));

        let (model, record) = self.arms.swap_remove(chosen).into_parts();
        let Point { step, alpha } = point;
        SelectedPoint {
            step,
            alpha,
            model,
            record: Some(record),
            steps,
            alphas,
        }
    }

    /// The step whose model a point is, at the α of the first look.
    fn step_at(&self, Point { step, alpha }: Point, first: f64) -> Option<usize> {
        if alpha.to_bits() == first.to_bits() {
            return Some(step);
        }

        let trajectory = self.search.problem.trajectory;
        let length = alpha * trajectory.fraction(step);
        let is_line = step == self.points[0].step && self.search.is_line();

        (1..step)
            .filter(|_| is_line)
            .find(|step| (first * trajectory.fraction(*step) - length).abs() < 1e-9)
    }
}

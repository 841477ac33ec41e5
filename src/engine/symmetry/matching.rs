//! Maximises `Σ_t ⟨target_t, π source_t⟩` over a graph's permutation group.
//!
//! Coordinate descent: with the other groups held, the best σ of one group solves a linear
//! assignment problem on its matrix `A_g` (`similarity`). π is orthogonal, so the maximum is also
//! the least-squares match `min_π Σ_t ‖target_t − π source_t‖²` of Chijiwa (ICLR 2024, section 3)
//! and, with one pair of parameters, the weight matching of Git Re-Basin (ICLR 2023, section 3.2).
//!
//! A descent starts from a given π or *anchored*: the first sweep solves each group from only those
//! members whose other axes are fixed or solved already, which finds deep residual streams that a
//! start from the identity loses. σ is replaced only for a gain above rounding; groups whose
//! neighbours did not move are not visited again.

mod stages;

use std::sync::Arc;

use rand::{Rng, seq::SliceRandom};

use super::{
    assignment::{self, Assignment, Certificate, NotFinite, Prices},
    fit::{Fit, Kind, Known, Products},
    groups::Symmetry,
    permutation::Permutation,
    similarity::{Pair, Similarity, Task},
};
use crate::engine::{
    execution::Executor,
    network::Role,
    profiler::{Profiler, Work},
    tensors::{Checkpoint, HostTensor},
};

pub use stages::{Stage, Stages};

/// A sweep that moves nothing ends the descent; so does this many.
const SWEEP_LIMIT: usize = 100;
/// A gain below this share of `Σ_j max_i |A[j, i]|` is rounding.
const RELATIVE_GAIN: f64 = 1e-7;

/// Bytes of matrices `A_g` that are kept from one visit of a group to the next; what is beyond is
/// built anew at each.
const KEPT: usize = 256 << 20;

/// Where a descent starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    From(&'a Permutation),
    Anchored,
    /// Whichever of those given and the anchored start scores highest.
    Best(&'a [&'a Permutation]),
}

/// The end of a descent.
#[derive(Clone, Debug)]
pub struct Solution {
    pub permutation: Permutation,
    /// `Σ_t ⟨target_t, π source_t⟩` over all learned tensors of all pairs, in f64.
    pub objective: f64,
    products: Products,
    pub sweeps: usize,
    /// For each group the proof that its σ is optimal *given the others*; none where the objective
    /// is quadratic in σ. Jointly the solution may still be improved.
    pub certificates: Vec<Option<Certificate>>,
}

/// A matrix for each group, as far as there is room to keep them.
#[derive(Debug)]
struct Kept {
    by_group: Vec<Similarity>,
    /// Groups whose matrix is kept.
    fits: Vec<bool>,
}

impl Kept {
    fn of(symmetry: &Symmetry, room: usize) -> Self {
        let fits = symmetry.groups.iter().scan(0, |bytes, group| {
            *bytes += 4 * group.units.pow(2);
            Some(*bytes <= room)
        });
        let by_group = symmetry.groups.iter().map(|_| Similarity::default());
        Self { by_group: by_group.collect(), fits: fits.collect() }
    }

    fn clear(&mut self) {
        self.by_group.iter_mut().for_each(Similarity::clear);
    }
}

/// Pairs of tensor sets, and what has been computed from them.
#[derive(Debug)]
pub struct Matcher<'a> {
    symmetry: &'a Symmetry,
    executor: Executor,
    profiler: &'a Profiler,
    pairs: Vec<Pair>,
    /// Of the pairs, in order.
    known: Vec<Known>,
    similarities: Kept,
    /// Of the members that anchor each group.
    anchored: Kept,
    prices: Vec<Prices>,
}

impl<'a> Matcher<'a> {
    /// Matrix products run where the executor runs.
    pub fn new(symmetry: &'a Symmetry, executor: &Executor, profiler: &'a Profiler) -> Self {
        Self {
            symmetry,
            executor: executor.clone(),
            profiler,
            pairs: Vec::new(),
            known: Vec::new(),
            similarities: Kept::of(symmetry, KEPT),
            anchored: Kept::of(symmetry, KEPT / 2),
            prices: vec![Prices::default(); symmetry.groups.len()],
        }
    }

    /// Adds a pair; both name the graph's learned tensors (others are ignored).
    pub fn push(&mut self, kind: Kind, target: Checkpoint, source: Checkpoint) {
        let [target, source] = [target, source].map(|side| self.symmetry.matched(side));
        let pair = Pair { target, source };
        self.known.push(self.profiler.time(Work::Similarity, || Known::of(kind, &pair)));
        self.pairs.push(pair);
    }

    /// Forgets the pairs, but not what helps to solve for similar ones.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.known.clear();
        self.similarities.clear();
        self.anchored.clear();
    }

    /// What helps to solve for similar pairs: prices of every group's units.
    pub fn prices(&self) -> &[Prices] {
        &self.prices
    }

    /// Takes the prices of another matcher of this symmetry.
    ///
    /// # Panics
    /// When they are of another number of groups.
    pub fn start_from(&mut self, prices: Vec<Prices>) {
        assert_eq!(prices.len(), self.symmetry.groups.len(), "prices of every group");
        self.prices = prices;
    }

    /// Descends from `start` until a sweep moves nothing.
    ///
    /// # Errors
    /// When a pair holds values that are not finite.
    pub fn solve(&mut self, start: Start, rng: &mut impl Rng) -> Result<Solution, NotFinite> {
        self.solve_in_stages(start, rng, Stages { from: None, reached: &|_| Ok(()) })
    }

    /// As [`Matcher::solve`], for descents that may be broken off: hears of every group or attention
    /// that has been visited, and goes on from where an earlier descent of these pairs, from this
    /// start and in this order, was then. The end is that of one descent, up to the rounding of
    /// matrices that are built anew.
    ///
    /// # Errors
    /// When a pair holds values that are not finite, and what `reached` refuses with.
    pub fn solve_in_stages<E: From<NotFinite>>(
        &mut self,
        start: Start,
        rng: &mut impl Rng,
        stages: Stages<E>,
    ) -> Result<Solution, E> {
        let Stages { from, reached } = stages;
        let blocks = self.symmetry.blocks();
        let from = from.filter(|stage| stage.fits(self.symmetry));
        let mut at = match (from, start) {
            (Some(stage), _) if stage.anchoring.is_none() => stage,
            (_, Start::From(permutation)) => Stage::sweeping(self.symmetry, permutation.clone()),
            (from, Start::Anchored) => self.anchored(Stages { from, reached })?,
            (from, Start::Best(given)) => self.best(given, Stages { from, reached })?,
        };
        let mut shuffled = || {
            let mut order: Vec<usize> = (0..blocks.len()).collect();
            order.shuffle(rng);
            order
        };
        // The orders of earlier sweeps are drawn again.
        let mut order = (0..at.sweeps).map(|_| shuffled()).last().unwrap_or_default();
        loop {
            if at.done == order.len() {
                if at.sweeps == SWEEP_LIMIT || !at.dirty.contains(&true) {
                    break;
                }
                (at.sweeps, at.done, order) = (at.sweeps + 1, 0, shuffled());
            }
            let block = order[at.done];
            at.done += 1;
            if std::mem::take(&mut at.dirty[block]) {
                self.visit_block(&blocks, block, &mut at)?;
                reached(&at)?;
            }
        }
        let Stage { permutation, sweeps, certificates, .. } = at;
        let products = self.products(&permutation);
        let objective = products.iter().flatten().sum();
        Ok(Solution { permutation, objective, products, sweeps, certificates })
    }

    /// Solves a group, or an attention's groups, with the others held. What shares a tensor with one
    /// that moved is to be visited again.
    fn visit_block(
        &mut self,
        blocks: &[Vec<usize>],
        block: usize,
        at: &mut Stage,
    ) -> Result<(), NotFinite> {
        let groups = &blocks[block];
        let moved = if let &[group] = groups.as_slice() {
            let (moved, certificate) = self.visit(group, &mut at.permutation)?;
            at.certificates[group] = certificate;
            moved
        } else {
            self.visit_attention(groups, &mut at.permutation)?
        };
        if moved {
            for neighbour in groups.iter().flat_map(|&group| self.neighbours(group)) {
                let of = |block: &Vec<usize>| block.contains(&neighbour);
                blocks.iter().position(of).into_iter().for_each(|b| at.dirty[b] = true);
            }
        }
        Ok(())
    }

    /// `Σ_t ⟨target_t, π source_t⟩` over the learned tensors.
    pub fn objective(&self, permutation: &Permutation) -> f64 {
        self.products(permutation).iter().flatten().sum()
    }

    /// `Σ_t ‖target_t‖ ‖source_t‖`: what the objective would be if every pair were parallel.
    pub fn bound(&self) -> f64 {
        self.known.iter().map(Known::bound).sum()
    }

    /// How well the pairs of a kind match by a solution for the present pairs; `None` where there is
    /// no such pair.
    pub fn fit(&self, kind: Kind, solution: &Solution) -> Option<Fit> {
        Fit::of(kind, self.symmetry, (&self.known, &solution.products))
    }

    fn products(&self, permutation: &Permutation) -> Products {
        let of_pair = |(pair, known): (&Pair, &Known)| {
            let product = |(name, _): &(String, _)| {
                let of = (self.symmetry, name.as_str());
                permutation.inner(of, &pair.source[name], &pair.target[name])
            };
            known.sums.iter().map(product).collect()
        };
        let pairs = self.pairs.iter().zip(&self.known);
        self.profiler.time(Work::Similarity, || pairs.map(of_pair).collect())
    }

    /// Solves one group with the others held; whether it moved.
    fn visit(
        &mut self,
        group: usize,
        permutation: &mut Permutation,
    ) -> Result<(bool, Option<Certificate>), NotFinite> {
        let matrix = self.matrix(group, permutation, None);
        let quadratic = self.task(group, None).is_quadratic();
        let found = self.assign(group, &matrix, permutation.sigma(group))?;
        let certificate = (!quadratic).then_some(found.certificate);
        if !gains(&matrix, permutation.sigma(group), &found) {
            return Ok((false, certificate));
        }
        let before = permutation.clone();
        permutation.set(group, found.sigma);
        if quadratic && self.partial(group, permutation) <= self.partial(group, &before) {
            *permutation = before;
            return Ok((false, None));
        }
        Ok((true, certificate))
    }

    /// Solves an attention's groups together, with the others held; whether they moved.
    fn visit_attention(
        &mut self,
        groups: &[usize],
        permutation: &mut Permutation,
    ) -> Result<bool, NotFinite> {
        let matrices: Vec<Arc<Vec<f32>>> =
            groups.iter().map(|&group| self.matrix(group, permutation, None)).collect();
        self.arrange(&matrices, groups, permutation)
    }

    /// Puts an attention's groups in the best order for these matrices, if that gains anything.
    fn arrange(
        &self,
        matrices: &[Arc<Vec<f32>>],
        groups: &[usize],
        permutation: &mut Permutation,
    ) -> Result<bool, NotFinite> {
        let attention = self.symmetry.attentions.iter().find(|a| a.groups() == groups);
        let Some(attention) = attention else { return Ok(false) };
        let current: Vec<&[u32]> = groups.iter().map(|&group| permutation.sigma(group)).collect();
        let found = self.profiler.time(Work::Assignment, || attention.solve(matrices, &current))?;
        let (mut gain, mut scale) = (0.0, 0.0);
        for (matrix, (group, sigma)) in matrices.iter().zip(&found) {
            gain += value(matrix, sigma) - value(matrix, permutation.sigma(*group));
            scale += largest(matrix, sigma.len());
        }
        if gain <= RELATIVE_GAIN * scale {
            return Ok(false);
        }
        found.into_iter().for_each(|(group, sigma)| permutation.set(group, sigma));
        Ok(true)
    }

    fn task<'t>(&'t self, group: usize, solved: Option<&'t [bool]>) -> Task<'t> {
        Task { symmetry: self.symmetry, group, executor: &self.executor, solved }
    }

    /// `A_g`, up to date; of only those members that `solved` groups anchor, if there are such.
    fn matrix(
        &mut self,
        group: usize,
        permutation: &Permutation,
        solved: Option<&[bool]>,
    ) -> Arc<Vec<f32>> {
        let task = Task { symmetry: self.symmetry, group, executor: &self.executor, solved };
        let pairs = &self.pairs;
        self.profiler.time(Work::Similarity, || {
            if solved.is_none() {
                // The anchored start's matrix lacks members, but may be nearer in what it has.
                let [kept, anchored] = [&mut self.similarities, &mut self.anchored]
                    .map(|kept| &mut kept.by_group[group]);
                let outstanding =
                    |matrix: &Similarity| matrix.outstanding(&task, permutation, pairs);
                if outstanding(anchored) < outstanding(kept) {
                    // A single pair is what weight matching has, which starts once.
                    let once = pairs.len() == 1;
                    *kept = if once { std::mem::take(anchored) } else { anchored.clone() };
                }
            }
            let kept = if solved.is_some() { &mut self.anchored } else { &mut self.similarities };
            let similarity = &mut kept.by_group[group];
            similarity.update(&task, permutation, pairs);
            let values = similarity.values(self.symmetry.groups[group].units);
            if !kept.fits[group] {
                similarity.clear();
            }
            values
        })
    }

    fn assign(
        &mut self,
        group: usize,
        matrix: &[f32],
        current: &[u32],
    ) -> Result<Assignment, NotFinite> {
        let prices = &mut self.prices[group];
        self.profiler.time(Work::Assignment, || {
            assignment::solve(matrix, current.len(), Some(current), Some(prices))
        })
    }

    fn best<E: From<NotFinite>>(
        &mut self,
        given: &[&Permutation],
        stages: Stages<E>,
    ) -> Result<Stage, E> {
        let [first, others @ ..] = given else { return self.anchored(stages) };
        if self.symmetry.is_separable() {
            return Ok(Stage::sweeping(self.symmetry, (*first).clone()));
        }
        let anchored = self.anchored(stages)?.permutation;
        let (mut best, mut highest) = (*first, self.objective(first));
        for start in others.iter().copied().chain([&anchored]) {
            let objective = self.objective(start);
            if objective > highest {
                (best, highest) = (start, objective);
            }
        }
        Ok(Stage::sweeping(self.symmetry, best.clone()))
    }

    /// The first sweep of an anchored start, in graph order: always the first group, or attention,
    /// that some usable member anchors.
    fn anchored<E: From<NotFinite>>(&mut self, stages: Stages<E>) -> Result<Stage, E> {
        let Stages { from, reached } = stages;
        let mut at = from.unwrap_or_else(|| Stage::anchoring(self.symmetry));
        let mut solved = at.anchoring.take().unwrap_or_default();
        let mut waiting = self.symmetry.blocks();
        waiting.retain(|groups| !groups.iter().all(|&group| solved[group]));
        while !waiting.is_empty() {
            let anchored = |group: &usize| self.task(*group, Some(&solved)).is_anchored();
            let Some(position) = waiting.iter().position(|groups| groups.iter().any(anchored))
            else {
                // Nothing anchors what is left: the first stays as it is and anchors others.
                waiting.remove(0).into_iter().for_each(|group| solved[group] = true);
                continue;
            };
            let groups = waiting.remove(position);
            let matrices: Vec<Arc<Vec<f32>>> = groups
                .iter()
                .map(|&group| self.matrix(group, &at.permutation, Some(&solved)))
                .collect();
            if let &[group] = groups.as_slice() {
                let found = self.assign(group, &matrices[0], at.permutation.sigma(group))?;
                if gains(&matrices[0], at.permutation.sigma(group), &found) {
                    at.permutation.set(group, found.sigma);
                }
            } else {
                self.arrange(&matrices, &groups, &mut at.permutation)?;
            }
            groups.into_iter().for_each(|group| solved[group] = true);
            at.anchoring = Some(solved.clone());
            reached(&at)?;
        }
        at.anchoring = None;
        Ok(at)
    }

    /// The objective over the tensors of one group.
    fn partial(&self, group: usize, permutation: &Permutation) -> f64 {
        self.tensors(group)
            .map(|(name, target, source)| permutation.inner((self.symmetry, name), source, target))
            .sum()
    }

    /// A group's learned tensors in every pair, `(name, target, source)`, each once.
    fn tensors(&self, group: usize) -> impl Iterator<Item = (&'a str, &HostTensor, &HostTensor)> {
        let mut names: Vec<&str> =
            self.learned(group).map(|member| member.tensor.as_str()).collect();
        names.dedup();
        self.pairs.iter().flat_map(move |pair| {
            let tensor =
                |&name: &&'a str| Some((name, pair.target.get(name)?, pair.source.get(name)?));
            names.iter().filter_map(tensor).collect::<Vec<_>>()
        })
    }

    fn learned(&self, group: usize) -> impl Iterator<Item = &'a super::Member> {
        self.symmetry.groups[group].members.iter().filter(|m| m.role == Role::Learned)
    }

    /// Groups that share a tensor with this one, itself included where it stands on both axes.
    fn neighbours(&self, group: usize) -> impl Iterator<Item = usize> {
        let symmetry = self.symmetry;
        self.learned(group).flat_map(move |member| {
            let others = symmetry.axes(&member.tensor);
            others.filter(move |(m, _)| m.axis != member.axis).map(|(_, group)| group)
        })
    }
}

/// Whether the assignment beats the present σ by more than rounding.
fn gains(matrix: &[f32], current: &[u32], found: &Assignment) -> bool {
    let gain = found.value - value(matrix, current);
    gain > RELATIVE_GAIN * largest(matrix, current.len())
}

/// `Σ_j A[j, σ[j]]`
fn value(matrix: &[f32], sigma: &[u32]) -> f64 {
    let rows = matrix.chunks(sigma.len()).zip(sigma);
    rows.map(|(row, &column)| f64::from(row[column as usize])).sum()
}

/// `Σ_j max_i |A[j, i]|`
fn largest(matrix: &[f32], units: usize) -> f64 {
    let of_row = |row: &[f32]| f64::from(row.iter().fold(0.0f32, |max, v| max.max(v.abs())));
    matrix.chunks(units).map(of_row).sum()
}

#[cfg(test)]
mod tests;

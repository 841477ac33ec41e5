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

use burn::tensor::Device;
use rand::{Rng, seq::SliceRandom};

use super::{
    assignment::{self, Assignment, Certificate, NotFinite, Prices},
    groups::Symmetry,
    permutation::Permutation,
    similarity::{Pair, Similarity, Task},
};
use crate::engine::{
    ledger::{Ledger, Work},
    network::{Checkpoint, HostTensor, Role},
};

/// A sweep that moves nothing ends the descent; so does this many.
const SWEEP_LIMIT: usize = 100;
/// A gain below this share of `Σ_j max_i |A[j, i]|` is rounding.
const RELATIVE_GAIN: f64 = 1e-7;

/// Where a descent starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    From(&'a Permutation),
    Anchored,
    /// Whichever of a given π and the anchored start scores higher.
    Better(&'a Permutation),
}

/// The end of a descent.
#[derive(Clone, Debug)]
pub struct Solution {
    pub permutation: Permutation,
    /// `Σ_t ⟨target_t, π source_t⟩` over all learned tensors, in f64.
    pub objective: f64,
    pub sweeps: usize,
    /// For each group the proof that its σ is optimal *given the others*; none where the objective
    /// is quadratic in σ. Jointly the solution may still be improved.
    pub certificates: Vec<Option<Certificate>>,
}

/// Pairs of tensor sets, and what has been computed from them.
#[derive(Debug)]
pub struct Matcher<'a> {
    symmetry: &'a Symmetry,
    device: Device,
    ledger: &'a Ledger,
    pairs: Vec<Pair>,
    similarities: Vec<Similarity>,
    prices: Vec<Prices>,
}

impl<'a> Matcher<'a> {
    /// Matrix products run on `device`.
    pub fn new(symmetry: &'a Symmetry, device: Device, ledger: &'a Ledger) -> Self {
        let groups = symmetry.groups.len();
        Self {
            symmetry,
            device,
            ledger,
            pairs: Vec::new(),
            similarities: (0..groups).map(|_| Similarity::default()).collect(),
            prices: vec![Prices::default(); groups],
        }
    }

    /// Adds a pair; both name the graph's learned tensors (others are ignored).
    pub fn push(&mut self, target: Checkpoint, source: Checkpoint) {
        self.pairs.push(Pair { target, source });
    }

    /// Forgets the pairs, but not what helps to solve for similar ones.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.similarities.iter_mut().for_each(Similarity::clear);
    }

    /// Descends from `start` until a sweep moves nothing.
    ///
    /// # Errors
    /// When a pair holds values that are not finite.
    pub fn solve(&mut self, start: Start, rng: &mut impl Rng) -> Result<Solution, NotFinite> {
        let mut permutation = match start {
            Start::From(permutation) => permutation.clone(),
            Start::Anchored => self.anchored()?,
            Start::Better(given) => self.better(given)?,
        };
        let groups = self.symmetry.groups.len();
        let mut certificates = vec![None; groups];
        let mut dirty = vec![true; groups];
        let mut sweeps = 0;
        while sweeps < SWEEP_LIMIT && dirty.contains(&true) {
            sweeps += 1;
            let mut order: Vec<usize> = (0..groups).collect();
            order.shuffle(rng);
            for group in order {
                if !std::mem::take(&mut dirty[group]) {
                    continue;
                }
                let (moved, certificate) = self.visit(group, &mut permutation)?;
                certificates[group] = certificate;
                if moved {
                    self.neighbours(group).for_each(|neighbour| dirty[neighbour] = true);
                }
            }
        }
        let objective = self.objective(&permutation);
        Ok(Solution { permutation, objective, sweeps, certificates })
    }

    /// `Σ_t ⟨target_t, π source_t⟩` over the learned tensors.
    pub fn objective(&self, permutation: &Permutation) -> f64 {
        self.ledger.book(Work::Similarity, || {
            let product = |pair: &Pair| {
                let one = |(name, target): (&str, &_)| match pair.source.get(name) {
                    Some(source) => permutation.apply_to(self.symmetry, name, source).inner(target),
                    None => 0.0,
                };
                pair.target.iter().map(one).sum::<f64>()
            };
            self.pairs.iter().map(product).sum()
        })
    }

    /// `Σ_t ‖target_t‖ ‖source_t‖`: what the objective would be if every pair were parallel.
    pub fn bound(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.target.norm() * pair.source.norm()).sum()
    }

    /// For each group the cosine of target and permuted source over its learned tensors, all pairs
    /// taken together; 0 where either side vanishes.
    pub fn group_cosines(&self, permutation: &Permutation) -> Vec<f64> {
        let cosine = |group: usize| {
            let (mut product, mut target_square, mut source_square) = (0.0, 0.0, 0.0);
            for (name, target, source) in self.tensors(group) {
                product += permutation.apply_to(self.symmetry, name, source).inner(target);
                target_square += target.inner(target);
                source_square += source.inner(source);
            }
            let norm = f64::sqrt(target_square * source_square);
            if norm > 0.0 { product / norm } else { 0.0 }
        };
        let groups = 0..self.symmetry.groups.len();
        self.ledger.book(Work::Similarity, || groups.map(cosine).collect())
    }

    /// Solves one group with the others held; whether it moved.
    fn visit(
        &mut self,
        group: usize,
        permutation: &mut Permutation,
    ) -> Result<(bool, Option<Certificate>), NotFinite> {
        let task = Task { symmetry: self.symmetry, group, device: &self.device };
        let units = self.symmetry.groups[group].units;
        let similarity = &mut self.similarities[group];
        let pairs = &self.pairs;
        let matrix = self.ledger.book(Work::Similarity, || {
            similarity.update(&task, permutation, pairs);
            similarity.values(units)
        });
        let quadratic = task.is_quadratic();
        let found = self.assign(group, &matrix, permutation.sigma(group))?;
        let certificate = (!quadratic).then_some(found.certificate);
        if !gains(&matrix, units, permutation.sigma(group), &found) {
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

    fn assign(
        &mut self,
        group: usize,
        matrix: &[f32],
        current: &[u32],
    ) -> Result<Assignment, NotFinite> {
        let prices = &mut self.prices[group];
        self.ledger.book(Work::Assignment, || {
            assignment::solve(matrix, current.len(), Some(current), Some(prices))
        })
    }

    fn better(&mut self, given: &Permutation) -> Result<Permutation, NotFinite> {
        if self.symmetry.is_separable() {
            return Ok(given.clone());
        }
        let anchored = self.anchored()?;
        let ahead = self.objective(&anchored) > self.objective(given);
        Ok(if ahead { anchored } else { given.clone() })
    }

    /// The first sweep of an anchored start, in graph order: always the first group that some
    /// usable member anchors.
    fn anchored(&mut self) -> Result<Permutation, NotFinite> {
        let mut permutation = Permutation::identity(self.symmetry);
        let groups = self.symmetry.groups.len();
        let mut solved = vec![false; groups];
        while let Some(first) = solved.iter().position(|s| !s) {
            let next = (first..groups).filter(|&g| !solved[g]).find_map(|group| {
                let task = Task { symmetry: self.symmetry, group, device: &self.device };
                let similarity = || task.anchored(&permutation, &self.pairs, &solved);
                Some((group, self.ledger.book(Work::Similarity, similarity)?))
            });
            let Some((group, matrix)) = next else {
                solved[first] = true; // nothing anchors it: the sweeps that follow will
                continue;
            };
            let found = self.assign(group, &matrix, permutation.sigma(group))?;
            if gains(&matrix, found.sigma.len(), permutation.sigma(group), &found) {
                permutation.set(group, found.sigma);
            }
            solved[group] = true;
        }
        Ok(permutation)
    }

    /// The objective over the tensors of one group.
    fn partial(&self, group: usize, permutation: &Permutation) -> f64 {
        self.tensors(group)
            .map(|(name, target, source)| {
                permutation.apply_to(self.symmetry, name, source).inner(target)
            })
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
fn gains(matrix: &[f32], units: usize, current: &[u32], found: &Assignment) -> bool {
    let value = |(row, &column): (&[f32], &u32)| f64::from(row[column as usize]);
    let present: f64 = matrix.chunks(units).zip(current).map(value).sum();
    let largest = |row: &[f32]| f64::from(row.iter().fold(0.0f32, |max, v| max.max(v.abs())));
    let scale: f64 = matrix.chunks(units).map(largest).sum();
    found.value - present > RELATIVE_GAIN * scale
}

#[cfg(test)]
mod tests;

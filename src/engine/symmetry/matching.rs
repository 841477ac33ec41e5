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
    fit::{Fit, Kind, Known, Products},
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

/// Pairs of tensor sets, and what has been computed from them.
#[derive(Debug)]
pub struct Matcher<'a> {
    symmetry: &'a Symmetry,
    device: Device,
    ledger: &'a Ledger,
    pairs: Vec<Pair>,
    /// Of the pairs, in order.
    known: Vec<Known>,
    similarities: Vec<Similarity>,
    /// Groups whose similarity is kept.
    kept: Vec<bool>,
    prices: Vec<Prices>,
}

impl<'a> Matcher<'a> {
    /// Matrix products run on `device`.
    pub fn new(symmetry: &'a Symmetry, device: Device, ledger: &'a Ledger) -> Self {
        let groups = symmetry.groups.len();
        let kept = symmetry.groups.iter().scan(0, |bytes, group| {
            *bytes += 4 * group.units.pow(2);
            Some(*bytes <= KEPT)
        });
        Self {
            symmetry,
            device,
            ledger,
            pairs: Vec::new(),
            known: Vec::new(),
            similarities: (0..groups).map(|_| Similarity::default()).collect(),
            kept: kept.collect(),
            prices: vec![Prices::default(); groups],
        }
    }

    /// Adds a pair; both name the graph's learned tensors (others are ignored).
    pub fn push(&mut self, kind: Kind, target: Checkpoint, source: Checkpoint) {
        let [target, source] = [target, source].map(|side| self.symmetry.matched(side));
        let pair = Pair { target, source };
        self.known.push(self.ledger.book(Work::Similarity, || Known::of(kind, &pair)));
        self.pairs.push(pair);
    }

    /// Forgets the pairs, but not what helps to solve for similar ones.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.known.clear();
        self.similarities.iter_mut().for_each(Similarity::clear);
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
        let mut permutation = match start {
            Start::From(permutation) => permutation.clone(),
            Start::Anchored => self.anchored()?,
            Start::Best(given) => self.best(given)?,
        };
        let blocks = self.symmetry.blocks();
        let mut certificates = vec![None; self.symmetry.groups.len()];
        let mut dirty = vec![true; blocks.len()];
        let mut sweeps = 0;
        while sweeps < SWEEP_LIMIT && dirty.contains(&true) {
            sweeps += 1;
            let mut order: Vec<usize> = (0..blocks.len()).collect();
            order.shuffle(rng);
            for block in order {
                if !std::mem::take(&mut dirty[block]) {
                    continue;
                }
                let groups = &blocks[block];
                let moved = if let &[group] = groups.as_slice() {
                    let (moved, certificate) = self.visit(group, &mut permutation)?;
                    certificates[group] = certificate;
                    moved
                } else {
                    self.visit_attention(groups, &mut permutation)?
                };
                if moved {
                    for neighbour in groups.iter().flat_map(|&group| self.neighbours(group)) {
                        let of = |block: &Vec<usize>| block.contains(&neighbour);
                        blocks.iter().position(of).into_iter().for_each(|b| dirty[b] = true);
                    }
                }
            }
        }
        let products = self.products(&permutation);
        let objective = products.iter().flatten().sum();
        Ok(Solution { permutation, objective, products, sweeps, certificates })
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
                let moved = permutation.apply_to(self.symmetry, name, &pair.source[name]);
                moved.inner(&pair.target[name])
            };
            known.sums.iter().map(product).collect()
        };
        let pairs = self.pairs.iter().zip(&self.known);
        self.ledger.book(Work::Similarity, || pairs.map(of_pair).collect())
    }

    /// Solves one group with the others held; whether it moved.
    fn visit(
        &mut self,
        group: usize,
        permutation: &mut Permutation,
    ) -> Result<(bool, Option<Certificate>), NotFinite> {
        let matrix = self.matrix(group, permutation);
        let task = Task { symmetry: self.symmetry, group, device: &self.device };
        let quadratic = task.is_quadratic();
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
        let matrices: Vec<Vec<f32>> =
            groups.iter().map(|&group| self.matrix(group, permutation)).collect();
        self.arrange(&matrices, groups, permutation)
    }

    /// Puts an attention's groups in the best order for these matrices, if that gains anything.
    fn arrange(
        &self,
        matrices: &[Vec<f32>],
        groups: &[usize],
        permutation: &mut Permutation,
    ) -> Result<bool, NotFinite> {
        let attention = self.symmetry.attentions.iter().find(|a| a.groups() == groups);
        let Some(attention) = attention else { return Ok(false) };
        let current: Vec<&[u32]> = groups.iter().map(|&group| permutation.sigma(group)).collect();
        let found = self.ledger.book(Work::Assignment, || attention.solve(matrices, &current))?;
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

    /// `A_g`, up to date.
    fn matrix(&mut self, group: usize, permutation: &Permutation) -> Vec<f32> {
        let task = Task { symmetry: self.symmetry, group, device: &self.device };
        let (similarity, pairs) = (&mut self.similarities[group], &self.pairs);
        let kept = self.kept[group];
        self.ledger.book(Work::Similarity, || {
            similarity.update(&task, permutation, pairs);
            let values = similarity.values(self.symmetry.groups[group].units);
            if !kept {
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
        self.ledger.book(Work::Assignment, || {
            assignment::solve(matrix, current.len(), Some(current), Some(prices))
        })
    }

    fn best(&mut self, given: &[&Permutation]) -> Result<Permutation, NotFinite> {
        let [first, others @ ..] = given else { return self.anchored() };
        if self.symmetry.is_separable() {
            return Ok((*first).clone());
        }
        let anchored = self.anchored()?;
        let (mut best, mut highest) = (*first, self.objective(first));
        for start in others.iter().copied().chain([&anchored]) {
            let objective = self.objective(start);
            if objective > highest {
                (best, highest) = (start, objective);
            }
        }
        Ok(best.clone())
    }

    /// The first sweep of an anchored start, in graph order: always the first group, or attention,
    /// that some usable member anchors.
    fn anchored(&mut self) -> Result<Permutation, NotFinite> {
        let mut permutation = Permutation::identity(self.symmetry);
        let mut solved = vec![false; self.symmetry.groups.len()];
        let mut waiting = self.symmetry.blocks();
        while !waiting.is_empty() {
            let anchored = waiting.iter().enumerate().find_map(|(position, groups)| {
                Some((position, self.anchors(groups, &permutation, &solved)?))
            });
            let Some((position, matrices)) = anchored else {
                // Nothing anchors what is left: the first stays as it is and anchors others.
                waiting.remove(0).into_iter().for_each(|group| solved[group] = true);
                continue;
            };
            let groups = waiting.remove(position);
            if let &[group] = groups.as_slice() {
                let found = self.assign(group, &matrices[0], permutation.sigma(group))?;
                if gains(&matrices[0], permutation.sigma(group), &found) {
                    permutation.set(group, found.sigma);
                }
            } else {
                self.arrange(&matrices, &groups, &mut permutation)?;
            }
            groups.into_iter().for_each(|group| solved[group] = true);
        }
        Ok(permutation)
    }

    /// The groups' matrices from usable members alone; `None` when no group has one.
    fn anchors(
        &self,
        groups: &[usize],
        permutation: &Permutation,
        solved: &[bool],
    ) -> Option<Vec<Vec<f32>>> {
        let of = |&group: &usize| {
            let task = Task { symmetry: self.symmetry, group, device: &self.device };
            let similarity = || task.anchored(permutation, &self.pairs, solved);
            self.ledger.book(Work::Similarity, similarity)
        };
        let matrices: Vec<Option<Vec<f32>>> = groups.iter().map(of).collect();
        if matrices.iter().all(Option::is_none) {
            return None;
        }
        let zeros = |group: usize| vec![0.0; self.symmetry.groups[group].units.pow(2)];
        let filled = matrices.into_iter().zip(groups);
        Some(filled.map(|(matrix, &group)| matrix.unwrap_or_else(|| zeros(group))).collect())
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

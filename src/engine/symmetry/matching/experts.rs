//! The order of a layer's experts, and of the hidden units of each.
//!
//! The best order needs, for every expert of the target and every one of the source, the value of the best
//! order of their units: an assignment problem for each of E² pairs. So pairs are looked at twice:
//!
//! 1. *Sketches*: what no order of the units changes, the sums of an expert's tensors over them, and the
//!    router's outputs. Were two experts the same but for noise and an order, the sums' products would be
//!    what the tensors' are.
//! 2. Each target's most similar experts by that, [`SHORTLIST`] of them, with the best order of their units.
//!
//! The order of the experts is the best by the second values. With at most [`SHORTLIST`] experts it is exact,
//! given the other groups. It is taken for a gain above rounding, as everywhere.

use super::{
    Matcher,
    descent::{RELATIVE_GAIN, value},
    matrices::ExpertPair,
};
use crate::{
    profiler::Work,
    symmetry::{
        assignment::{self, NotFinite},
        groups::{Experts, Member},
        permutation::Permutation,
        similarity::Pair,
    },
    tensors::{
        HostTensor,
        matmul::{accumulate, matrix},
    },
};

/// Experts of the source that are looked at closely for each of the target, beside the present one.
const SHORTLIST: usize = 4;
/// Orders of units that are computed for each of the target's experts at most: of its shortlist, the present
/// expert and the best one by sketches.
pub const MATCHED_EXPERTS: usize = SHORTLIST + 2;

/// Similarities of experts, `[experts, experts]`, row: the target's.
struct Sketches {
    /// Of what has no hidden units: exact.
    direct: Vec<f32>,
    /// Of sums over hidden units.
    sums: Vec<f32>,
}

/// The units of a target's expert and a source's.
struct Matched {
    source: usize,
    /// Where the target's units come from.
    units: Vec<u32>,
    value: f64,
    /// The value with the units as they are, of the expert that is in its place now.
    present: Option<f64>,
}

impl Matched {
    fn valued(&self) -> Valued {
        Valued {
            source: self.source,
            value: self.value,
        }
    }

    /// With what no order of units changes.
    fn plus(self, own: f64) -> Self {
        let present = self.present.map(|present| present + own);
        Self {
            value: self.value + own,
            present,
            ..self
        }
    }
}

/// The layer that is solved, with what is held.
#[derive(Clone, Copy)]
struct Held<'h> {
    experts: &'h Experts,
    /// Groups whose members take part; `None`: all.
    solved: Option<&'h [bool]>,
    permutation: &'h Permutation,
}

impl<'a> Matcher<'a> {
    /// The layer whose groups these are.
    pub(super) fn experts_of(&self, groups: &[usize]) -> Option<&'a Experts> {
        self.symmetry
            .experts
            .iter()
            .find(|experts| experts.groups() == groups)
    }

    /// Solves the order of a layer's experts and of their units, with the other groups held; whether they
    /// moved.
    pub(super) fn visit_experts(
        &mut self,
        experts: &Experts,
        solved: Option<&[bool]>,
        permutation: &mut Permutation,
    ) -> Result<bool, NotFinite> {
        let of_router = match solved {
            None => self.matrix(experts.order, permutation),
            Some(solved) => self.anchored_matrix(experts.order, permutation, solved),
        };
        let held = Held {
            experts,
            solved,
            permutation,
        };
        let Sketches { mut direct, sums } =
            self.profiler.time(Work::Similarity, || self.sketches(held));
        direct
            .iter_mut()
            .zip(of_router.iter())
            .for_each(|(direct, router)| *direct += router);

        let found = self.pairs_of_experts(held, &direct, &sums)?;
        let present: f64 = found.iter().flatten().filter_map(|one| one.present).sum();
        let values: Vec<Vec<Valued>> = found
            .iter()
            .map(|matched| matched.iter().map(Matched::valued).collect())
            .collect();
        let order = best_order(&values, permutation.sigma(experts.order))?;
        let chosen = found
            .iter()
            .zip(&order)
            .map(|(matched, &source)| matched.iter().find(|one| one.source == source as usize));
        let Some(chosen) = chosen.collect::<Option<Vec<&Matched>>>() else {
            return Ok(false);
        };
        let total: f64 = chosen.iter().map(|one| one.value).sum();
        let scale: f64 = chosen.iter().map(|one| one.value.abs()).sum();
        if total - present <= RELATIVE_GAIN * scale {
            return Ok(false);
        }

        for (one, &group) in chosen.iter().zip(&experts.hidden) {
            permutation.set(group, one.units.clone());
        }
        permutation.set(experts.order, order);
        Ok(true)
    }

    /// For each of the target's experts those of the source that are looked at closely.
    fn pairs_of_experts(
        &self,
        held: Held,
        direct: &[f32],
        sums: &[f32],
    ) -> Result<Vec<Vec<Matched>>, NotFinite> {
        let count = held.experts.tensors.len();
        let current = held.permutation.sigma(held.experts.order);
        let sketched: Vec<f32> = direct.iter().zip(sums).map(|(a, b)| a + b).collect();
        let by_sketch = assignment::solve(&sketched, count, Some(current), None)?.sigma;

        let mut found = Vec::with_capacity(count);
        for target in 0..count {
            let row = &sketched[target * count..][..count];
            let mut sources: Vec<usize> = (0..count).collect();
            sources.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            sources.truncate(SHORTLIST);
            sources.extend([current[target] as usize, by_sketch[target] as usize]);
            sources.sort_unstable();
            sources.dedup();

            let mut matched = Vec::with_capacity(sources.len());
            for source in sources {
                let own = f64::from(direct[target * count + source]);
                matched.push(self.units(held, target, source)?.plus(own));
            }
            found.push(matched);
        }
        Ok(found)
    }

    /// The best order of the units of a target's expert that is made of a source's.
    fn units(&self, held: Held, target: usize, source: usize) -> Result<Matched, NotFinite> {
        let order = held.permutation.sigma(held.experts.order);
        let is_present = order[target] as usize == source;
        let Some(&group) = held.experts.hidden.get(target) else {
            let present = is_present.then_some(0.0);
            return Ok(Matched {
                source,
                units: Vec::new(),
                value: 0.0,
                present,
            });
        };

        let similarity = self.similarity_of(held, group, source);
        let units = held.permutation.sigma(group);
        let still: Vec<u32> = (0..units.len() as u32).collect();
        let current = if is_present { units } else { &still };
        let found = self.profiler.time(Work::Assignment, || {
            assignment::solve(&similarity, current.len(), Some(current), None)
        })?;
        let present = is_present.then(|| value(&similarity, units));
        Ok(Matched {
            source,
            units: found.sigma,
            value: found.value,
            present,
        })
    }

    fn similarity_of(&self, held: Held, hidden: usize, source: usize) -> Vec<f32> {
        let Held {
            solved,
            permutation,
            ..
        } = held;
        let pairs = self.pairs.as_slice();

        self.profiler.time(Work::Similarity, || {
            let experts = ExpertPair { hidden, source };
            self.matrices
                .between_experts(experts, permutation, pairs, solved)
                .to_vec()
        })
    }

    /// Products of the experts of all pairs.
    fn sketches(&self, held: Held) -> Sketches {
        let Held {
            experts,
            permutation,
            ..
        } = held;
        let count = experts.tensors.len();
        let mut still = permutation.clone();
        for &group in experts.hidden.iter().chain([&experts.order]) {
            still.set(group, (0..still.sigma(group).len() as u32).collect());
        }

        let mut found = Sketches {
            direct: vec![0.0; count * count],
            sums: vec![0.0; count * count],
        };
        let parts = experts.tensors.first().map_or(0, Vec::len);
        for part in (0..parts).filter(|&part| self.is_usable(held, part)) {
            let sum = if self.hidden_members(experts, 0, part).is_empty() {
                &mut found.direct
            } else {
                &mut found.sums
            };
            for pair in self.pairs.as_slice() {
                let sides = self.sides(held, part, pair, &still);
                let Some([target, source]) = sides else {
                    continue;
                };
                let width = target.len() / count;
                accumulate(
                    sum,
                    matrix(&target, width),
                    matrix(&source, width).transpose(),
                );
            }
        }
        found
    }

    /// A tensor of all experts, summed over their hidden units: `[experts, …]` of target and source, the source
    /// in the target's coordinates. `None` where a model lacks it.
    fn sides(
        &self,
        held: Held,
        part: usize,
        pair: &Pair,
        still: &Permutation,
    ) -> Option<[Vec<f32>; 2]> {
        let Held { experts, .. } = held;
        let [mut target, mut source] = [Vec::new(), Vec::new()];
        for (expert, names) in experts.tensors.iter().enumerate() {
            let name = &names[part];
            let units = experts
                .hidden
                .first()
                .map_or(1, |&group| self.symmetry.groups[group].units);
            let members = self.hidden_members(experts, expert, part);
            let moved = still.apply_to(self.symmetry, name, pair.source.get(name)?);
            target.extend(summed(pair.target.get(name)?, &members, units));
            source.extend(summed(&moved, &members, units));
        }

        Some([target, source])
    }

    /// Where a tensor of an expert has its hidden units.
    fn hidden_members(&self, experts: &Experts, expert: usize, part: usize) -> Vec<&'a Member> {
        let hidden = experts.hidden.get(expert);
        let axes = self.symmetry.axes(&experts.tensors[expert][part]);
        axes.filter(|(_, group)| hidden == Some(group))
            .map(|(member, _)| member)
            .collect()
    }

    /// Whether what lies on the other axes of a tensor is solved.
    fn is_usable(&self, held: Held, part: usize) -> bool {
        let Held {
            experts, solved, ..
        } = held;
        let hidden = experts.hidden.first();
        let mut others = self.symmetry.axes(&experts.tensors[0][part]);
        solved.is_none_or(|solved| others.all(|(_, group)| hidden == Some(&group) || solved[group]))
    }
}

/// A tensor's sums over units; as it is where it has none.
fn summed(tensor: &HostTensor, members: &[&Member], units: usize) -> Vec<f32> {
    let values = tensor.f32();
    if members.is_empty() {
        return values.into_owned();
    }

    let mut sums = Vec::new();
    for member in members {
        let after: usize = tensor.shape()[member.axis + 1..].iter().product();
        let length = tensor.shape()[member.axis];
        let before = values.len() / (length * after);
        let mut of_member = vec![0f64; before * member.repeat * after];
        for outer in 0..before {
            for unit in 0..units {
                for entry in 0..member.repeat {
                    let from = (outer * length + member.first(unit) + entry) * after;
                    let to = (outer * member.repeat + entry) * after;
                    let row = &values[from..from + after];
                    of_member[to..to + after]
                        .iter_mut()
                        .zip(row)
                        .for_each(|(sum, &value)| *sum += f64::from(value));
                }
            }
        }
        sums.extend(of_member.into_iter().map(|sum| sum as f32));
    }
    sums
}

/// A source's expert, or block of channels, and what it is worth in a target's place.
pub(super) struct Valued {
    pub source: usize,
    pub value: f64,
}

/// The best order by the pairs that were looked at, a list for each of the target's; no other pair is taken.
pub(super) fn best_order(found: &[Vec<Valued>], current: &[u32]) -> Result<Vec<u32>, NotFinite> {
    let count = found.len();
    let values = found.iter().flatten().map(|one| one.value);
    let (least, most) = values.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    );
    // One such pair costs more than all others together can gain.
    let away = least - (most - least + f64::MIN_POSITIVE) * (count + 1) as f64;
    let mut matrix = vec![away as f32; count * count];

    for (target, matched) in found.iter().enumerate() {
        matched
            .iter()
            .for_each(|one| matrix[target * count + one.source] = one.value as f32);
    }

    Ok(assignment::solve(&matrix, count, Some(current), None)?.sigma)
}

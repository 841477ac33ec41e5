//! An entry of the cache: π and the evidence for it, floats as their bits.

use serde::{Deserialize, Serialize};

use super::FORMAT;
use crate::engine::{
    symmetry::{Fit, Permutation, assignment::Certificate},
    transfer::{Alignment, Evidence, GroupEvidence, Problem},
};

/// What a file says.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub format: String,
    pub key: String,
    sigmas: Vec<Vec<u32>>,
    /// Objective, the same at the identity, and the bound, as bits.
    objectives: [u64; 3],
    sweeps: usize,
    groups: Vec<Group>,
}

/// Cosines at the identity and at π, as bits, and what proves σ.
#[derive(Serialize, Deserialize)]
struct Group(u64, u64, Option<String>);

impl From<&GroupEvidence> for Group {
    fn from(of: &GroupEvidence) -> Self {
        let certificate = of.certificate.map(str::to_owned);
        Self(
            of.cosine_at_identity.to_bits(),
            of.cosine.to_bits(),
            certificate,
        )
    }
}

impl Entry {
    pub(super) fn of(key: String, alignment: &Alignment, problem: &Problem) -> Option<Self> {
        let permutation = alignment.transports.last()?.permutation()?;
        let evidence = alignment.evidence.first()?;
        let fit = &evidence.fit;
        let groups = 0..problem.symmetry.groups.len();

        Some(Self {
            format: FORMAT.into(),
            key,
            sigmas: groups
                .map(|group| permutation.sigma(group).to_vec())
                .collect(),
            objectives: [fit.objective, fit.objective_at_identity, fit.bound].map(f64::to_bits),
            sweeps: evidence.sweeps,
            groups: alignment.groups.iter().map(Group::from).collect(),
        })
    }

    pub(super) fn alignment(self, problem: &Problem) -> Option<Alignment> {
        let symmetry = problem.symmetry;
        let permutation = Permutation::from_sigmas(symmetry, self.sigmas)?;
        let [objective, objective_at_identity, bound] = self.objectives.map(f64::from_bits);
        if self.groups.len() != symmetry.groups.len() {
            return None;
        }

        let groups: Option<Vec<GroupEvidence>> = self
            .groups
            .into_iter()
            .enumerate()
            .map(|(index, group)| {
                let Group(before, after, certificate) = group;
                let certificate = match certificate {
                    Some(name) => Some(Certificate::known_name(&name)?),
                    None => None,
                };
                let sigma = permutation.sigma(index);
                Some(GroupEvidence {
                    group: symmetry.groups[index].name.clone(),
                    units: symmetry.groups[index].units,
                    cosine_at_identity: f64::from_bits(before),
                    cosine: f64::from_bits(after),
                    certificate,
                    fixed_points: (0u32..).zip(sigma).filter(|(j, i)| j == *i).count(),
                })
            })
            .collect();
        let groups = groups?;
        let certified_groups = groups
            .iter()
            .filter(|group| group.certificate.is_some())
            .count();

        let cosines_at_identity = groups
            .iter()
            .map(|group| group.cosine_at_identity)
            .collect();
        let cosines = groups.iter().map(|group| group.cosine).collect();
        let fit = Fit {
            objective,
            objective_at_identity,
            bound,
            cosines_at_identity,
            cosines,
        };

        let (sweeps, weight_anchor) = (self.sweeps, None);
        let evidence = Evidence {
            step: 1,
            fit,
            weight_anchor,
            sweeps,
            certified_groups,
        };
        let mut alignment = Alignment::constant(problem, &permutation);
        (alignment.evidence, alignment.groups) = (vec![evidence], groups);
        Some(alignment)
    }
}

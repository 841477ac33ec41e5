//! Maps the source's task vector into the target's coordinates.
//!
//! A [`Transport`] changes coordinates by a permutation or by maps layer by layer ([`Maps`]). What
//! comes out may then be held back where it does not help the target: by the votes of single
//! samples (`GradFix`) and by the orthogonal shift.

use std::sync::Arc;

use super::maps::Maps;
use crate::{
    symmetry::{Permutation, Symmetry},
    tensors::{Checkpoint, HostTensor, Projection, Update, UpdateMask},
};

/// From the source's coordinates to the target's.
#[derive(Clone, Debug)]
pub struct Transport {
    frame: Frame,
    votes: Option<Arc<Checkpoint>>,
}

#[derive(Clone, Debug)]
enum Frame {
    Permutation(Permutation),
    Maps(Arc<Maps>),
    /// The whole update is known: the target with it.
    Fitted(Arc<Checkpoint>),
}

impl From<Permutation> for Transport {
    fn from(permutation: Permutation) -> Self {
        Self {
            frame: Frame::Permutation(permutation),
            votes: None,
        }
    }
}

impl From<Arc<Maps>> for Transport {
    fn from(maps: Arc<Maps>) -> Self {
        Self {
            frame: Frame::Maps(maps),
            votes: None,
        }
    }
}

impl From<Checkpoint> for Transport {
    fn from(fitted: Checkpoint) -> Self {
        Self {
            frame: Frame::Fitted(Arc::new(fitted)),
            votes: None,
        }
    }
}

/// A tensor of the source before and after the tuning.
#[derive(Clone, Copy)]
pub(super) struct Tuned<'t> {
    pub symmetry: &'t Symmetry,
    pub name: &'t str,
    pub from: &'t HostTensor,
    pub to: &'t HostTensor,
}

impl Transport {
    /// π, where there is one.
    pub fn permutation(&self) -> Option<&Permutation> {
        match &self.frame {
            Frame::Permutation(permutation) => Some(permutation),
            Frame::Maps(_) | Frame::Fitted(_) => None,
        }
    }

    /// The target with the whole update, where no coordinates lead to it.
    pub(super) fn fitted(&self) -> Option<&Checkpoint> {
        match &self.frame {
            Frame::Fitted(model) => Some(model),
            _ => None,
        }
    }

    /// Whether both carry every update alike, as far as a look at them tells.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_frame = match (&self.frame, &other.frame) {
            (Frame::Permutation(one), Frame::Permutation(other)) => one == other,
            (Frame::Maps(one), Frame::Maps(other)) => Arc::ptr_eq(one, other),
            (Frame::Fitted(one), Frame::Fitted(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let is_same_mask = match (&self.votes, &other.votes) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same_frame && is_same_mask
    }

    /// The same, keeping only those entries of an update whose step the votes ask for
    /// ([`UpdateMask`]).
    #[must_use]
    pub fn masked(self, votes: Arc<Checkpoint>) -> Self {
        Self {
            votes: Some(votes),
            ..self
        }
    }

    /// A tensor of the source in the target's coordinates.
    pub(super) fn moved(&self, symmetry: &Symmetry, name: &str, tensor: &HostTensor) -> HostTensor {
        match &self.frame {
            Frame::Permutation(permutation) => permutation.apply_to(symmetry, name, tensor),
            Frame::Maps(maps) => maps.apply_to(name, tensor),
            // What is fitted is in the target's coordinates already.
            Frame::Fitted(_) => tensor.clone(),
        }
    }

    /// `target + scale · carried(to − from)`, made orthogonal to `target − base` where the source's
    /// base, carried already, is given. By a permutation it is exact but for one rounding, and lazy
    /// where the tensors are.
    pub(super) fn shift(
        &self,
        tuned: Tuned<'_>,
        target: &HostTensor,
        scale: f64,
        orthogonal_to: Option<&HostTensor>,
    ) -> HostTensor {
        let (from, to) = self.ends(tuned, target);
        let update = Update {
            from: &from,
            to: &to,
            scale,
        };
        let mask = UpdateMask {
            projection: orthogonal_to.and_then(|base| projection(update, base, target)),
            votes: self
                .votes
                .as_ref()
                .and_then(|votes| votes.get(tuned.name))
                .cloned(),
        };
        let shifted = target.shifted_masked(update, mask);

        match &self.frame {
            Frame::Permutation(_) => shifted,
            // A result that is too large for memory lies on a disk.
            Frame::Fitted(fitted) if fitted[tuned.name].is_lazy() => shifted,
            // Its update is in memory, and would stay there.
            Frame::Maps(_) | Frame::Fitted(_) => shifted.held(),
        }
    }

    /// The two ends of an update, carried.
    fn ends(&self, tuned: Tuned<'_>, target: &HostTensor) -> (HostTensor, HostTensor) {
        let Tuned {
            symmetry,
            name,
            from,
            to,
        } = tuned;
        match &self.frame {
            Frame::Permutation(_) => (
                self.moved(symmetry, name, from),
                self.moved(symmetry, name, to),
            ),
            Frame::Fitted(fitted) => (target.clone(), fitted[name].clone()),
            // Little cancels between mapped ends: the difference is mapped instead.
            Frame::Maps(_) => {
                let update = self.moved(symmetry, name, &to.minus(from));
                let zeros = vec![0.0; update.len()];
                (HostTensor::from_f32(update.shape().to_vec(), zeros), update)
            }
        }
    }
}

/// What an update loses to be orthogonal to `target − base`; `None` where that is zero.
fn projection(update: Update<'_>, base: &HostTensor, target: &HostTensor) -> Option<Projection> {
    let bases = Difference {
        from: base,
        to: target,
    };
    let moved = Difference {
        from: update.from,
        to: update.to,
    };

    Some(Projection {
        share: moved.share_along(bases)?,
        origin: base.clone(),
    })
}

/// `to − from`, in f64.
#[derive(Clone, Copy)]
struct Difference<'t> {
    from: &'t HostTensor,
    to: &'t HostTensor,
}

impl Difference<'_> {
    /// `⟨self, d⟩ / ‖d‖²`: how much of an update points along a difference `d`. `None` where `d` is
    /// zero.
    fn share_along(self, d: Difference<'_>) -> Option<f64> {
        let [square, product] =
            HostTensor::sums_over([d.to, d.from, self.from, self.to], |values| {
                let [target, base, from, to] = values.map(f64::from);
                [(target - base).powi(2), (to - from) * (target - base)]
            });

        (square > 0.0).then_some(product / square)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    use super::*;
    use crate::{network::Graph, tensors::Deferred};

    const NAME: &str = "a.weight";

    /// A layer of 160 units, and an order of them.
    fn ordered(rng: &mut ChaCha8Rng) -> (Symmetry, Permutation) {
        let input = json!({"kind": "features", "shape": [128]});
        let nodes = json!([{"op": "linear", "param": "a"}, {"op": "linear", "param": "b"}]);
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        let zeros = |shape: &[usize]| {
            HostTensor::from_f32(shape.to_vec(), vec![0.0; shape.iter().product()])
        };
        let model: Checkpoint = [
            (NAME.to_owned(), zeros(&[160, 128])),
            ("b.weight".to_owned(), zeros(&[2, 160])),
        ]
        .into_iter()
        .collect();
        let symmetry = Symmetry::derive(&graph, &model.signature()).unwrap();
        let permutation = Permutation::random(&symmetry, rng);
        (symmetry, permutation)
    }

    /// Values of many sizes: a difference of two is rounded in f32.
    fn drawn(rng: &mut ChaCha8Rng) -> HostTensor {
        let mut value = || rng.random_range(-1.0f32..1.0) * rng.random_range(0.001..1.0);
        HostTensor::from_f32(vec![160, 128], (0..160 * 128).map(|_| value()).collect())
    }

    fn lazy(tensor: &HostTensor) -> HostTensor {
        let again = Arc::new(Deferred(tensor.clone()));
        HostTensor::lazy(tensor.dtype(), tensor.shape().to_vec(), again)
    }

    #[test]
    fn what_points_along_the_difference_of_the_bases_is_taken_out() {
        let vector = |values: [f32; 2]| HostTensor::from_f32(vec![2], values.to_vec());
        let update = Difference {
            from: &vector([1.0, 1.0]),
            to: &vector([4.0, 5.0]),
        };
        for (base, expected) in [([5.0, 7.0], Some(1.5)), ([7.0, 7.0], None)] {
            let bases = Difference {
                from: &vector(base),
                to: &vector([7.0, 7.0]),
            };
            assert_eq!(update.share_along(bases), expected);
        }
    }

    /// Where nothing lies between the bases the tuned model comes back bit for bit, the shift asked
    /// for or not.
    #[test]
    fn on_the_same_base_an_orthogonal_update_is_exact() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (symmetry, permutation) = ordered(&mut rng);
        let (base, tuned) = (drawn(&mut rng), drawn(&mut rng));
        let moved = |tensor: &HostTensor| permutation.apply_to(&symmetry, NAME, tensor);
        let target = moved(&base);
        let transport = Transport::from(permutation.clone());
        let tensors = Tuned {
            symmetry: &symmetry,
            name: NAME,
            from: &base,
            to: &tuned,
        };
        let shifted = transport.shift(tensors, &target, 1.0, Some(&target));
        assert_eq!(shifted.bytes(), moved(&tuned).bytes());
    }

    /// What is read from files is computed while it is written, held back or not.
    #[test]
    fn a_lazy_update_stays_lazy_and_has_the_same_bytes() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (symmetry, permutation) = ordered(&mut rng);
        let tensors = [(); 3].map(|()| drawn(&mut rng));
        let votes: Checkpoint = [(NAME.to_owned(), drawn(&mut rng))].into_iter().collect();
        let plain = Transport::from(permutation);
        for transport in [plain.clone(), plain.masked(Arc::new(votes))] {
            let shift = |tensors: &[HostTensor; 3]| {
                let base = transport.moved(&symmetry, NAME, &tensors[1]);
                let [target, from, to] = tensors.each_ref();
                let tuned = Tuned {
                    symmetry: &symmetry,
                    name: NAME,
                    from,
                    to,
                };
                transport.shift(tuned, target, 0.7, Some(&base))
            };
            let (held, lazy) = (shift(&tensors), shift(&tensors.each_ref().map(lazy)));
            assert!(lazy.is_lazy() && !held.is_lazy());
            assert_eq!(held.bytes(), lazy.bytes());
            let update = |i: usize| f64::from(held.f32()[i]) - f64::from(tensors[0].f32()[i]);
            let moved = [1, 2].map(|i| transport.moved(&symmetry, NAME, &tensors[i]));
            if transport.votes.is_none() {
                // Nothing of it is left along the difference of the bases.
                let along = |i: usize| {
                    update(i) * (f64::from(tensors[0].f32()[i]) - f64::from(moved[0].f32()[i]))
                };
                assert!((0..held.len()).map(along).sum::<f64>().abs() < 1e-3);
            }
        }
    }
}

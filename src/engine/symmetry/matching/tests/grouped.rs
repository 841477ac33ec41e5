//! The channels of convolutions in groups: against brute force, planted orders, the law of the group.

use super::*;

/// A convolution in groups behind a plain one, and behind it what tells classes apart: nothing else moves.
struct Between {
    blocks: usize,
    /// Channels of a block on both sides.
    inside: [usize; 2],
}

impl Between {
    fn build(&self) -> (Graph, Signature) {
        let [inputs, outputs] = self.inside.map(|size| size * self.blocks);
        let nodes = json!([{"op": "conv2d", "param": "a"},
            {"op": "conv2d", "param": "g", "groups": self.blocks}, {"op": "gelu"},
            {"op": "global_avg_pool"}, {"op": "linear", "param": "head"}]);
        let tensors = [
            ("a.weight", vec![inputs, 2, 1, 1]),
            ("a.bias", vec![inputs]),
            ("g.weight", vec![outputs, self.inside[0], 2, 2]),
            ("g.bias", vec![outputs]),
            ("head.weight", vec![3, outputs]),
        ];
        let input = json!({"kind": "image", "shape": [2, 3, 3]});
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        let tensors = tensors.map(|(name, shape)| (name.to_owned(), shape));
        (graph, signature(tensors))
    }

    /// Every element of the group.
    fn elements(&self, symmetry: &Symmetry) -> Vec<Permutation> {
        let inside: Vec<[Vec<u32>; 2]> = permutations(self.inside[0])
            .into_iter()
            .flat_map(|input| {
                let outputs = permutations(self.inside[1]).into_iter();
                outputs.map(move |output| [input.clone(), output])
            })
            .collect();
        let count = inside.len().pow(self.blocks as u32);
        let mut found = Vec::new();
        for order in permutations(self.blocks) {
            for choice in 0..count {
                let mut sigmas = [Vec::new(), Vec::new()];
                for (target, &source) in order.iter().enumerate() {
                    let own = &inside[choice / inside.len().pow(target as u32) % inside.len()];
                    for (side, sigma) in sigmas.iter_mut().enumerate() {
                        let first = source * self.inside[side] as u32;
                        sigma.extend(own[side].iter().map(|channel| first + channel));
                    }
                }
                let element = Permutation::from_sigmas(symmetry, sigmas.to_vec());
                found.push(element.expect("an element"));
            }
        }
        found
    }
}

/// Nothing else is held: the best of all elements is found.
#[test]
fn blocks_of_channels_are_solved_exactly() {
    for (blocks, inside, cases) in [
        (2, [2, 3], 12),
        (3, [2, 2], 12),
        (2, [1, 3], 6),
        (3, [3, 1], 6),
    ] {
        let between = Between { blocks, inside };
        let (graph, signature) = between.build();
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        assert_eq!(
            symmetry.groups.iter().map(|g| g.units).collect::<Vec<_>>(),
            inside.map(|size| size * blocks)
        );
        let elements = between.elements(&symmetry);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let profiler = profiler();
        for case in 0..cases {
            let pairs = random_pairs(2, &signature, &mut rng);
            let mut matcher = matcher(&symmetry, &profiler, &pairs);
            let found = matcher.solve(Start::Anchored, &mut rng).unwrap();
            let best = elements
                .iter()
                .map(|element| matcher.objective(element))
                .fold(f64::NEG_INFINITY, f64::max);
            assert!(
                (found.objective - best).abs() < 1e-4 * best.abs().max(1.0),
                "{blocks} of {inside:?}, case {case}: {} of {best}",
                found.objective
            );
            let by_hand = objective(&symmetry, &pairs, &found.permutation);
            assert!((found.objective - by_hand).abs() < 1e-4 * best.abs().max(1.0));
        }
    }
}

/// Blocks too large for every order to be gone through, and more of them than are looked at closely.
#[test]
fn planted_orders_of_large_blocks_are_found() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (blocks, inside) in [(4, [6, 7]), (20, [5, 5])] {
        let (graph, signature) = Between { blocks, inside }.build();
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let profiler = profiler();
        let source = random(&signature, &mut rng);
        let planted = Permutation::random(&symmetry, &mut rng);
        let target = planted.apply(&symmetry, &source);
        let mut matcher = matcher(&symmetry, &profiler, &[(target, source)]);
        let found = matcher.solve(Start::Anchored, &mut rng).unwrap();
        assert_eq!(found.permutation, planted, "{blocks} of {inside:?}");
    }
}

/// Two of them in a row have one order of blocks, and three orders inside each.
#[test]
fn convolutions_in_a_row_move_in_step() {
    let nodes = json!([{"op": "conv2d", "param": "a"}, {"op": "conv2d", "param": "g", "groups": 4},
        {"op": "gelu"}, {"op": "conv2d", "param": "h", "groups": 4}, {"op": "global_avg_pool"},
        {"op": "linear", "param": "head"}]);
    let tensors = [
        ("a.weight", vec![12, 2, 1, 1]),
        ("g.weight", vec![20, 3, 1, 1]),
        ("h.weight", vec![8, 5, 2, 2]),
        ("head.weight", vec![3, 8]),
    ];
    let input = json!({"kind": "image", "shape": [2, 3, 3]});
    let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
    let signature = signature(tensors.map(|(name, shape)| (name.to_owned(), shape)));
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    assert_eq!(symmetry.attentions.len(), 3);
    assert_eq!(symmetry.blocks(), [[0, 1, 2]]);

    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let source = random(&signature, &mut rng);
    let [one, other] = [0, 1].map(|_| Permutation::random(&symmetry, &mut rng));
    let there = one.apply(&symmetry, &other.apply(&symmetry, &source));
    let composed = one.compose(&symmetry, &other).apply(&symmetry, &source);
    let back = one
        .inverse(&symmetry)
        .apply(&symmetry, &one.apply(&symmetry, &source));
    for (name, tensor) in source.iter() {
        assert_eq!(there[name].bytes(), composed[name].bytes(), "{name}");
        assert_eq!(back[name].bytes(), tensor.bytes(), "{name}");
    }

    let profiler = profiler();
    let target = one.apply(&symmetry, &source);
    let mut matcher = matcher(&symmetry, &profiler, &[(target, source)]);
    let found = matcher.solve(Start::Anchored, &mut rng).unwrap();
    assert_eq!(found.permutation, one);
}

//! Planted permutations of transformers: one stream, heads, dimensions inside heads.

use super::*;

/// How a block projects to queries, keys and values.
#[derive(Clone, Copy, Debug)]
enum Projection {
    Separate,
    /// One tensor q|k|v, `[out, in]`.
    Fused,
    /// The same, `[in, out]`.
    Transposed,
    /// Two key/value heads with rotary positions.
    Grouped,
    /// One tensor, head by head, of which rotary positions turn two dimensions each.
    Heads,
    /// One tensor of unequal parts with norms that heads share, and a fused MLP.
    Uneven,
}

const WIDTH: usize = 24;
const HEADS: usize = 4;
const SIZE: usize = 6;

/// Pre-norm blocks of attention and a gated MLP on token and position embeddings.
#[expect(clippy::too_many_lines, reason = "a network as a table")]
fn transformer(projection: Projection, depth: usize) -> (Graph, Signature) {
    let mut nodes = vec![
        json!({"op": "embedding", "param": "words"}),
        json!({"op": "position_embedding", "param": "places", "inputs": ["input"]}),
        json!({"op": "add", "id": "stream", "inputs": ["words", "places"]}),
    ];
    let mut tensors = vec![
        ("words.weight".to_owned(), vec![40, WIDTH]),
        ("places.weight".into(), vec![9, WIDTH]),
    ];
    let mut stream = "stream".to_owned();
    for i in 0..depth {
        let name = |part: &str| format!("{i}.{part}");
        let mut linear = |nodes: &mut Vec<Value>, part: &str, read: &str, sizes: [usize; 2]| {
            nodes.push(json!({"op": "linear", "param": name(part), "inputs": [read]}));
            tensors.push((name(&format!("{part}.weight")), sizes.to_vec()));
            tensors.push((name(&format!("{part}.bias")), vec![sizes[0]]));
        };
        nodes.push(json!({"op": "layer_norm", "param": name("norm1"), "inputs": [stream]}));
        let is_grouped = matches!(projection, Projection::Grouped | Projection::Uneven);
        let (norm, kv) = (name("norm1"), if is_grouped { 2 } else { HEADS });
        let mut attention =
            json!({"op": "attention", "heads": HEADS, "kv_heads": kv, "id": name("attention")});
        match projection {
            Projection::Fused => linear(&mut nodes, "qkv", &norm, [3 * WIDTH, WIDTH]),
            Projection::Transposed => {
                nodes.push(json!({"op": "linear", "param": name("qkv"), "transposed": true}));
            }
            Projection::Heads => {
                linear(&mut nodes, "qkv", &norm, [3 * WIDTH, WIDTH]);
                attention["fused"] = json!("heads");
                attention["rotary"] = json!({"dims": 2});
            }
            Projection::Uneven => {
                linear(&mut nodes, "qkv", &norm, [(HEADS + 2 * kv) * SIZE, WIDTH]);
                attention["head_norms"] =
                    json!({"queries": name("q_norm"), "keys": name("k_norm")});
            }
            Projection::Separate | Projection::Grouped => {
                for (part, heads) in [("q", HEADS), ("k", kv), ("v", kv)] {
                    linear(&mut nodes, part, &norm, [heads * SIZE, WIDTH]);
                }
                attention["inputs"] = json!([name("q"), name("k"), name("v")]);
                if kv < HEADS {
                    attention["rotary"] = json!({});
                }
            }
        }
        nodes.push(attention);
        linear(&mut nodes, "out", &name("attention"), [WIDTH, WIDTH]);
        nodes.push(json!({"op": "add", "id": name("middle"), "inputs": [stream, name("out")]}));
        nodes.push(json!({"op": "layer_norm", "param": name("norm2")}));
        let mut up = name("up");
        if matches!(projection, Projection::Uneven) {
            linear(&mut nodes, "fused", &name("norm2"), [64, WIDTH]);
            up = name("second");
            let split = |part, id: &str| {
                let read = [name("fused")];
                json!({"op": "split", "parts": 2, "part": part, "inputs": read, "id": id})
            };
            nodes.push(split(1, &up));
            nodes.push(split(0, &name("first")));
        } else {
            linear(&mut nodes, "up", &name("norm2"), [32, WIDTH]);
            linear(&mut nodes, "gate", &name("norm2"), [32, WIDTH]);
        }
        nodes.push(json!({"op": "silu", "id": name("silu")}));
        nodes.push(json!({"op": "gate", "id": name("both"), "inputs": [name("silu"), up]}));
        linear(&mut nodes, "down", &name("both"), [WIDTH, 32]);
        stream = name("end");
        nodes.push(json!({"op": "add", "id": stream, "inputs": [name("middle"), name("down")]}));
        for norm in ["norm1", "norm2"] {
            tensors.push((name(&format!("{norm}.weight")), vec![WIDTH]));
            tensors.push((name(&format!("{norm}.bias")), vec![WIDTH]));
        }
        if matches!(projection, Projection::Uneven) {
            for norm in ["q_norm", "k_norm"] {
                tensors.push((name(&format!("{norm}.weight")), vec![SIZE]));
            }
        }
        if matches!(projection, Projection::Transposed) {
            tensors.push((name("qkv.weight"), vec![WIDTH, 3 * WIDTH]));
            tensors.push((name("qkv.bias"), vec![3 * WIDTH]));
        }
    }
    nodes.push(json!({"op": "select_token"}));
    nodes.push(json!({"op": "linear", "param": "head"}));
    tensors.push(("head.weight".into(), vec![3, WIDTH]));
    let input = json!({"kind": "tokens", "shape": [9]});
    (
        Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap(),
        signature(tensors),
    )
}

const ALL: [Projection; 6] = [
    Projection::Separate,
    Projection::Fused,
    Projection::Transposed,
    Projection::Grouped,
    Projection::Heads,
    Projection::Uneven,
];

#[test]
fn groups_are_the_stream_the_heads_and_the_hidden_units() {
    let named = |projection| {
        let (graph, signature) = transformer(projection, 1);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let names: Vec<String> = symmetry
            .groups
            .iter()
            .map(|g| format!("{} {}", g.name, g.units))
            .collect();
        (names.join(", "), symmetry.attentions.len())
    };
    let plain = "words 24, 0.q 24, 0.v 24, 0.up 32";
    assert_eq!(named(Projection::Separate), (plain.to_owned(), 1));
    let fused = "words 24, 0.qkv.q 24, 0.qkv.v 24, 0.up 32";
    assert_eq!(named(Projection::Fused), (fused.to_owned(), 1));
    assert_eq!(named(Projection::Transposed), (fused.to_owned(), 1));
    let grouped = "words 24, 0.q 24, 0.k 12, 0.v 12, 0.up 32, 0.out.input 24";
    assert_eq!(named(Projection::Grouped), (grouped.to_owned(), 1));
    assert_eq!(named(Projection::Heads), (fused.to_owned(), 1));
    let uneven = "words 24, 0.qkv.q 24, 0.qkv.k 12, 0.qkv.v 12, 0.fused.0 32, 0.out.input 24";
    assert_eq!(named(Projection::Uneven), (uneven.to_owned(), 1));
}

/// Without rotary positions a key's bias adds the same to every score of a query.
#[test]
fn biases_of_keys_follow_their_channels_and_take_no_part_in_the_matching() {
    for projection in ALL {
        let (graph, signature) = transformer(projection, 1);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let free: &[(&str, std::ops::Range<usize>)] = match projection {
            Projection::Separate => &[("0.k.bias", 0..WIDTH)],
            Projection::Fused | Projection::Transposed => &[("0.qkv.bias", WIDTH..2 * WIDTH)],
            Projection::Grouped | Projection::Heads | Projection::Uneven => &[],
        };
        let found: Vec<_> = symmetry
            .free
            .iter()
            .map(|(name, range)| (name.as_str(), range.clone()))
            .collect();
        assert_eq!(found, free, "{projection:?}");
        // Free parameters of another order, a hundred times as large as all others.
        let mut rng = ChaCha8Rng::seed_from_u64(23);
        let mut source = random(&signature, &mut rng);
        let planted = Permutation::random(&symmetry, &mut rng);
        let mut target = planted.apply(&symmetry, &source);
        for (name, range) in free {
            for model in [&mut source, &mut target] {
                let mut values = model[*name].f32().into_owned();
                values[range.clone()]
                    .iter_mut()
                    .for_each(|v| *v = rng.random_range(-100.0..100.0));
                model.insert(*name, HostTensor::from_f32(vec![values.len()], values));
            }
        }
        let profiler = profiler();
        let mut matcher = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
        matcher.push(Kind::Matched, target, source.clone());
        let solution = matcher.solve(Start::Anchored, &mut rng).unwrap();
        assert_eq!(solution.permutation, planted, "{projection:?}");
        assert!((solution.objective / matcher.bound() - 1.0).abs() < 1e-6);
        for (name, _) in free {
            let moved = planted.apply_to(&symmetry, name, &source[*name]);
            assert_ne!(
                moved.bytes(),
                source[*name].bytes(),
                "it follows its channels"
            );
        }
    }
}

/// Dimensions that rotary positions turn, and those of a norm that all heads share, stay in place.
#[test]
fn dimensions_that_are_told_apart_do_not_move() {
    for (projection, fixed) in [
        (Projection::Separate, 0),
        (Projection::Heads, 2),
        (Projection::Grouped, SIZE),
        (Projection::Uneven, SIZE),
    ] {
        let (graph, signature) = transformer(projection, 1);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        assert_eq!(
            symmetry.attentions[0].fixed_dimensions, fixed,
            "{projection:?}"
        );
        let mut rng = ChaCha8Rng::seed_from_u64(24);
        let queries = symmetry.attentions[0].queries;
        let permutation = Permutation::random(&symmetry, &mut rng);
        for (dimension, from) in permutation.sigma(queries).iter().enumerate() {
            let stays = *from as usize % SIZE == dimension % SIZE;
            assert!(stays || dimension % SIZE >= fixed, "{projection:?}");
        }
    }
}

/// What is cut in two ways, or read whole as well, does not move.
#[test]
fn a_fused_space_that_is_read_otherwise_too_stays() {
    let groups = |more: Value| {
        let mut nodes = vec![
            json!({"op": "linear", "param": "both"}),
            json!({"op": "split", "parts": 2, "part": 0, "id": "first"}),
            json!({"op": "split", "parts": 2, "part": 1, "inputs": ["both"], "id": "second"}),
            json!({"op": "gate", "inputs": ["first", "second"], "id": "g"}),
        ];
        nodes.extend(more.as_array().unwrap().clone());
        let graph = Graph::from_document(
            &json!({"input": {"kind": "features", "shape": [5]}, "nodes": nodes}),
        );
        let tensors = [
            ("both.weight".to_owned(), vec![12, 5]),
            ("a.weight".into(), vec![3, 6]),
            ("b.weight".into(), vec![3, 12]),
        ];
        let names: Vec<&str> = nodes
            .iter()
            .filter_map(|node| node["param"].as_str())
            .collect();
        let used = tensors.into_iter().filter(|(name, _)| {
            names
                .iter()
                .any(|used| name.starts_with(&format!("{used}.")))
        });
        let symmetry = Symmetry::derive(&graph.unwrap(), &signature(used)).unwrap();
        symmetry
            .groups
            .iter()
            .map(|group| group.units)
            .collect::<Vec<_>>()
    };
    assert_eq!(groups(json!([{"op": "linear", "param": "a"}])), [6]);
    // Read whole by a layer, the parts still move together.
    let whole = json!([{"op": "linear", "param": "a"},
        {"op": "linear", "param": "b", "inputs": ["both"]}, {"op": "add", "inputs": ["a", "b"], "id": "s"}]);
    assert_eq!(groups(whole), [6]);
    let otherwise = json!([{"op": "linear", "param": "a"},
        {"op": "split", "parts": 4, "part": 0, "inputs": ["both"], "id": "quarter"},
        {"op": "add", "inputs": ["a", "quarter"], "id": "s"}]);
    assert_eq!(groups(otherwise), Vec::<usize>::new());
}

/// Both starts of weight matching, at the depth of a real network.
#[test]
fn a_planted_permutation_of_twelve_blocks_is_found() {
    for projection in ALL {
        let (graph, signature) = transformer(projection, 12);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(21);
        let source = random(&signature, &mut rng);
        let planted = Permutation::random(&symmetry, &mut rng);
        let profiler = profiler();
        let mut matcher = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
        let target = planted.apply(&symmetry, &source);
        matcher.push(Kind::Matched, target.clone(), source.clone());
        let identity = Permutation::identity(&symmetry);
        let solution = matcher.solve(Start::Best(&[&identity]), &mut rng).unwrap();
        assert_eq!(solution.permutation, planted, "{projection:?}");
        assert!((solution.objective / matcher.bound() - 1.0).abs() < 1e-6);
        let back = planted.inverse(&symmetry).apply(&symmetry, &target);
        assert!(
            source
                .iter()
                .all(|(name, tensor)| back[name].bytes() == tensor.bytes())
        );
    }
}

/// A neighbour's change corrects ranges of fused tensors too: the matrices that a descent leaves
/// are those built anew.
#[test]
fn corrected_matrices_equal_those_built_anew() {
    for projection in ALL {
        let (graph, signature) = transformer(projection, 2);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(22);
        let profiler = profiler();
        let mut matcher = matcher(&symmetry, &profiler, &random_pairs(2, &signature, &mut rng));
        let start = Permutation::random(&symmetry, &mut rng);
        let solution = matcher.solve(Start::From(&start), &mut rng).unwrap();
        assert!(solution.objective > matcher.objective(&start));
        for group in 0..symmetry.groups.len() {
            let anew = matrix_anew(&mut matcher, group, &solution.permutation, projection);
            // Its diagonal value is the group's share of the objective.
            let share = value(&anew, solution.permutation.sigma(group));
            let others = matcher.pairs.objective_of(group, &solution.permutation);
            let fused = !matches!(projection, Projection::Separate | Projection::Grouped);
            assert!(
                fused || (share - others).abs() < 1e-2,
                "{share} against {others}"
            );
        }
    }
}

//! Planted orders of experts and of their units, the law of the group, and the matcher against brute force.

use super::*;

const WIDTH: usize = 16;
const EXPERTS: usize = 6;
const HIDDEN: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Three layers of each expert.
    Plain,
    /// Two, the first of which puts out two things in turns; heads with sinks.
    OfGptOss,
}

struct Decoder {
    form: Form,
    nodes: Vec<Value>,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Decoder {
    fn linear(&mut self, param: &str, read: &str, [out, input]: [usize; 2]) {
        self.nodes
            .push(json!({"op": "linear", "param": param, "inputs": [read]}));
        self.tensors
            .push((format!("{param}.weight"), vec![out, input]));
    }

    fn norm(&mut self, param: &str, read: &str) {
        self.nodes
            .push(json!({"op": "rms_norm", "param": param, "inputs": [read]}));
        self.tensors.push((format!("{param}.weight"), vec![WIDTH]));
    }

    /// Router and experts that read `read`; `{prefix}.experts` is what they put out.
    fn experts(&mut self, prefix: &str, read: &str, [count, hidden]: [usize; 2]) {
        let interleaved = self.form == Form::OfGptOss;
        let (router, experts) = (format!("{prefix}.router"), format!("{prefix}.experts"));
        self.linear(&router, read, [count, WIDTH]);
        self.nodes.push(
            json!({"op": "experts", "param": experts, "count": count, "top_k": 2,
            "interleaved": interleaved, "inputs": [read, router]}),
        );
        for expert in 0..count {
            let layers: &[(&str, [usize; 2], usize)] = if interleaved {
                &[
                    ("gate_proj", [WIDTH, 2 * hidden], 2 * hidden),
                    ("down_proj", [hidden, WIDTH], WIDTH),
                ]
            } else {
                &[
                    ("gate_proj", [hidden, WIDTH], hidden),
                    ("up_proj", [hidden, WIDTH], hidden),
                    ("down_proj", [WIDTH, hidden], WIDTH),
                ]
            };
            for (layer, shape, outputs) in layers {
                let name = |part: &str| format!("{experts}.{expert}.{layer}.{part}");
                self.tensors.push((name("weight"), shape.to_vec()));
                self.tensors.push((name("bias"), vec![*outputs]));
            }
        }
    }

    fn finish(self) -> (Graph, Signature) {
        let input = json!({"kind": "tokens", "shape": [9]});
        let config = json!({"input": input, "task": "next_token", "nodes": self.nodes});
        (
            Graph::from_document(&config).unwrap(),
            signature(self.tensors),
        )
    }

    fn begun(form: Form, vocabulary: usize) -> Self {
        let mut decoder = Self {
            form,
            nodes: Vec::new(),
            tensors: Vec::new(),
        };
        decoder
            .nodes
            .push(json!({"op": "embedding", "param": "words"}));
        decoder
            .tensors
            .push(("words.weight".into(), vec![vocabulary, WIDTH]));
        decoder
    }
}

/// Blocks of grouped attention and experts.
fn decoder(form: Form, depth: usize) -> (Graph, Signature) {
    let mut decoder = Decoder::begun(form, 40);
    let mut stream = "words".to_owned();
    for i in 0..depth {
        let name = |part: &str| format!("{i}.{part}");
        decoder.norm(&name("n1"), &stream);
        for (part, out) in [("q", WIDTH), ("k", WIDTH / 2), ("v", WIDTH / 2)] {
            decoder.linear(&name(part), &name("n1"), [out, WIDTH]);
        }
        let mut attention = json!({"op": "attention", "heads": 4, "kv_heads": 2, "causal": true, "rotary": {},
            "inputs": [name("q"), name("k"), name("v")], "id": name("a")});
        if form == Form::OfGptOss {
            attention["sinks"] = json!(name("sinks"));
            decoder.tensors.push((name("sinks"), vec![4]));
        }
        decoder.nodes.push(attention);
        decoder.linear(&name("o"), &name("a"), [WIDTH, WIDTH]);
        decoder
            .nodes
            .push(json!({"op": "add", "inputs": [name("o"), stream], "id": name("m")}));
        decoder.norm(&name("n2"), &name("m"));
        decoder.experts(&i.to_string(), &name("n2"), [EXPERTS, HIDDEN]);
        stream = name("end");
        decoder
            .nodes
            .push(json!({"op": "add", "inputs": [name("experts"), name("m")], "id": stream}));
    }
    decoder.linear("head", &stream, [40, WIDTH]);
    decoder.finish()
}

#[test]
fn groups_are_the_order_of_the_experts_and_the_units_of_each() {
    let (graph, signature) = decoder(Form::Plain, 1);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let names: Vec<String> = symmetry
        .groups
        .iter()
        .map(|group| format!("{} {}", group.name, group.units))
        .collect();
    let mut expected: Vec<String> = ["words 16", "0.q 16", "0.k 8", "0.v 8", "0.router 6"]
        .map(str::to_owned)
        .into();
    expected.extend((0..EXPERTS).map(|expert| format!("0.experts.{expert}.gate_proj 10")));
    expected.push("0.o.input 16".into());
    assert_eq!(names, expected);
    let [experts] = &symmetry.experts[..] else {
        panic!("one layer")
    };
    assert_eq!(
        (experts.order, &experts.hidden[..]),
        (4, &[5, 6, 7, 8, 9, 10][..])
    );
    assert_eq!(experts.tensors[2][4], "0.experts.2.down_proj.weight");
    assert!(!symmetry.is_separable());
    assert!(symmetry.blocks().contains(&experts.groups()));
}

#[test]
fn a_planted_order_of_experts_is_found() {
    for (form, depth, noise) in [
        (Form::Plain, 2, 0.0),
        (Form::Plain, 2, 0.2),
        (Form::Plain, 12, 0.0),
        (Form::OfGptOss, 2, 0.2),
        (Form::OfGptOss, 12, 0.0),
    ] {
        let (graph, signature) = decoder(form, depth);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(31);
        let source = random(&signature, &mut rng);
        let planted = Permutation::random(&symmetry, &mut rng);
        let moved = planted.apply(&symmetry, &source);
        let target: Checkpoint = moved
            .iter()
            .map(|(name, tensor)| {
                let values = tensor.f32();
                let noisy = values
                    .iter()
                    .map(|v| v + noise * rng.random_range(-1.0f32..1.0));
                let tensor = HostTensor::from_f32(tensor.shape().to_vec(), noisy.collect());
                (name.to_owned(), tensor)
            })
            .collect();

        let profiler = profiler();
        let mut matcher = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
        matcher.push(Kind::Matched, target.clone(), source.clone());
        let identity = Permutation::identity(&symmetry);
        let solution = matcher.solve(Start::Best(&[&identity]), &mut rng).unwrap();
        assert_eq!(
            solution.permutation, planted,
            "{form:?}, {depth} blocks, noise {noise}"
        );
        assert!(
            (objective(&symmetry, &[(target, source.clone())], &planted) - solution.objective)
                .abs()
                < 1e-2
        );
        if noise == 0.0 {
            assert!((solution.objective / matcher.bound() - 1.0).abs() < 1e-6);
            let fit = matcher.fit(Kind::Matched, &solution).unwrap();
            assert!(fit.cosines.iter().all(|cosine| (cosine - 1.0).abs() < 1e-6));
        }
        let back = planted.inverse(&symmetry).apply(&symmetry, &moved);
        assert!(
            source
                .iter()
                .all(|(name, tensor)| back[name].bytes() == tensor.bytes())
        );
    }
}

#[test]
fn orders_of_experts_form_a_group() {
    for form in [Form::Plain, Form::OfGptOss] {
        let (graph, signature) = decoder(form, 1);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(32);
        let model = random(&signature, &mut rng);
        let [one, other] = [(), ()].map(|()| Permutation::random(&symmetry, &mut rng));
        let there = one.apply(&symmetry, &other.apply(&symmetry, &model));
        let at_once = one.compose(&symmetry, &other).apply(&symmetry, &model);
        assert!(
            there
                .iter()
                .all(|(name, tensor)| at_once[name].bytes() == tensor.bytes())
        );
        let identity = Permutation::identity(&symmetry);
        assert_eq!(one.compose(&symmetry, &one.inverse(&symmetry)), identity);
        assert_eq!(one.inverse(&symmetry).compose(&symmetry, &one), identity);
    }
}

/// Three experts of two units on a stream that does not move, being the output.
#[test]
fn few_experts_are_solved_exactly() {
    let mut decoder = Decoder::begun(Form::Plain, WIDTH);
    decoder.experts("x", "words", [3, 2]);
    decoder
        .nodes
        .push(json!({"op": "add", "inputs": ["words", "x.experts"]}));
    let (graph, signature) = decoder.finish();
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    assert_eq!(
        symmetry
            .groups
            .iter()
            .map(|group| group.units)
            .collect::<Vec<_>>(),
        [3, 2, 2, 2]
    );

    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pairs = random_pairs(2, &signature, &mut rng);
        let mut best = f64::MIN;
        for order in permutations(3) {
            for swapped in 0..8u32 {
                let mut sigmas = vec![order.clone()];
                let units = |expert: u32| {
                    if swapped >> expert & 1 == 0 {
                        vec![0, 1]
                    } else {
                        vec![1, 0]
                    }
                };
                sigmas.extend((0..3).map(units));
                let permutation = Permutation::from_sigmas(&symmetry, sigmas).unwrap();
                best = best.max(objective(&symmetry, &pairs, &permutation));
            }
        }
        let profiler = profiler();
        let mut matcher = matcher(&symmetry, &profiler, &pairs);
        let start = Permutation::random(&symmetry, &mut rng);
        let solution = matcher.solve(Start::From(&start), &mut rng).unwrap();
        assert!(
            (solution.objective - best).abs() < 1e-4,
            "{} and {best}",
            solution.objective
        );
    }
}

/// Matrices of groups beside experts that have changed places are those built anew.
#[test]
fn matrices_beside_moved_experts_are_up_to_date() {
    let (graph, signature) = decoder(Form::Plain, 2);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(33);
    let profiler = profiler();
    let mut matcher = matcher(&symmetry, &profiler, &random_pairs(2, &signature, &mut rng));
    let start = Permutation::random(&symmetry, &mut rng);
    let solution = matcher.solve(Start::From(&start), &mut rng).unwrap();
    assert!(solution.objective > matcher.objective(&start));
    for group in 0..symmetry.groups.len() {
        if symmetry
            .experts
            .iter()
            .any(|experts| experts.hidden.contains(&group))
        {
            continue;
        }
        let anew = matrix_anew(&mut matcher, group, &solution.permutation, Form::Plain);
        let share = value(&anew, solution.permutation.sigma(group));
        let others = matcher.pairs.objective_of(group, &solution.permutation);
        assert!((share - others).abs() < 1e-2, "{share} against {others}");
    }
}

/// Logits that are read elsewhere, or are put out, keep their order, and so do the experts.
#[test]
fn experts_whose_router_is_read_out_stay() {
    let mut decoder = Decoder::begun(Form::Plain, 3);
    decoder.experts("x", "words", [3, 4]);
    decoder.linear("head", "x.experts", [3, WIDTH]);
    decoder
        .nodes
        .push(json!({"op": "add", "inputs": ["head", "x.router"]}));
    let (graph, signature) = decoder.finish();
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    assert!(symmetry.experts.is_empty());
    // The stream, the units of each expert, and what the experts put out.
    assert_eq!(
        symmetry
            .groups
            .iter()
            .map(|group| group.units)
            .collect::<Vec<_>>(),
        [16, 4, 16, 4, 4]
    );
}

use super::*;
use Method::{Bico, Fgmt, Functional, Gmt, Identity, Theseus, WeightMatching};

/// What a rung gives, in these tests.
#[derive(Clone, Copy)]
struct Given {
    accuracy: f64,
    standing: Standing,
}

fn behind(accuracy: f64) -> Given {
    Given {
        accuracy,
        standing: Standing::Behind,
    }
}

fn enough(accuracy: f64) -> Given {
    Given {
        accuracy,
        standing: Standing::WithinMargin,
    }
}

/// Climbs with these results by rung; the methods taken, and the last reason. Functional outdoes
/// permutations where it leads by ten points.
fn climb(known: &Known, given: [Given; 8]) -> (Vec<Method>, String) {
    let (mut steps, mut leader) = (Vec::new(), None::<Leader>);
    while let Some(mut step) = next(known, &steps, leader.as_ref()) {
        let Given { accuracy, standing } = given[steps.len()];
        step.validation_accuracy = step.taken.then_some(accuracy);
        if step.taken && leader.is_none_or(|leader| accuracy > leader.accuracy) {
            let (method, old, samples) = (step.method, 0.96, 512);
            let outdoes_permutations = method == Functional
                && [0, 2]
                    .iter()
                    .all(|&rung| accuracy > given[rung].accuracy + 0.1);
            leader = Some(Leader {
                method,
                accuracy,
                old,
                samples,
                standing,
                outdoes_permutations,
            });
        }
        steps.push(step);
    }
    assert_eq!(steps.len(), RUNGS.len(), "every rung has its reason");
    let taken = steps.iter().filter(|s| s.taken).map(|s| s.method).collect();
    (taken, steps.pop().expect("rungs").reason)
}

const KNOWN: Known = Known {
    cosine: Some(0.1),
    fixed_points: None,
    has_validation: true,
    has_train: true,
    has_labels: true,
    across_widths: false,
    by_names: false,
    target_loss: Some(2.4),
    loss_of_guessing: 2.3,
};

#[test]
fn the_ladder_ends_where_the_best_is_as_good_as_the_old_tuned_model() {
    let mut given = [behind(0.0); 8];
    given[0] = enough(0.95);
    let (taken, reason) = climb(&KNOWN, given);
    assert_eq!(taken, [Identity]);
    assert!(
        reason.contains("95.0 %") && reason.contains("96.0 %"),
        "{reason}"
    );
    assert!(
        reason.contains("512") && reason.contains("enough"),
        "{reason}"
    );

    given[0] = behind(0.94);
    given[1] = enough(0.955);
    assert_eq!(climb(&KNOWN, given).0, [Identity, Functional]);
    given[1] = behind(0.5);
    let all = [
        Identity,
        Functional,
        WeightMatching,
        Fgmt,
        Bico,
        Theseus,
        Gmt,
    ];
    assert_eq!(climb(&KNOWN, given).0, all);
    // The best so far counts, not the last.
    let knowing = Known {
        target_loss: Some(2.0),
        ..KNOWN
    };
    let (_, reason) = climb(&knowing, given);
    assert!(reason.contains("identity has 94.0 %"), "{reason}");
}

#[test]
fn what_cannot_win_or_cannot_run_is_skipped() {
    // A fit ahead of the permutations leaves nothing for others to win.
    let mut given = [behind(0.1); 8];
    given[1] = behind(0.7);
    assert_eq!(
        climb(&KNOWN, given).0,
        [Identity, Functional, WeightMatching]
    );
    given[2] = behind(0.65);
    let close = [Identity, Functional, WeightMatching, Fgmt, Bico, Theseus];
    assert_eq!(climb(&KNOWN, given).0, close);

    // Of one lineage, and in their places: no more permutations.
    let settled = Known {
        cosine: Some(0.9),
        fixed_points: Some(1.0),
        ..KNOWN
    };
    let expected = [Identity, Functional, WeightMatching];
    assert_eq!(climb(&settled, [behind(0.5); 8]).0, expected);

    // Where maps are ahead of permutations, no more permutations.
    let mut given = [behind(0.5); 8];
    given[4] = behind(0.6);
    let maps = [Identity, Functional, WeightMatching, Fgmt, Bico, Theseus];
    assert_eq!(climb(&KNOWN, given).0, maps);

    let knowing = Known {
        target_loss: Some(2.0),
        ..KNOWN
    };
    assert_eq!(climb(&knowing, [behind(0.5); 8]).0, RUNGS);
    let unlabelled = Known {
        has_labels: false,
        ..knowing
    };
    let expected = [Identity, Functional, WeightMatching, Theseus];
    assert_eq!(climb(&unlabelled, [behind(0.5); 8]).0, expected);
    let untrained = Known {
        has_train: false,
        ..KNOWN
    };
    assert_eq!(
        climb(&untrained, [behind(0.5); 8]).0,
        [Identity, WeightMatching]
    );
}

#[test]
fn between_widths_only_maps_are_tried() {
    let across = Known {
        across_widths: true,
        ..KNOWN
    };
    assert_eq!(
        climb(&across, [behind(0.5); 8]).0,
        [Functional, Bico, Theseus]
    );
    let blind = Known {
        has_validation: false,
        ..across
    };
    assert_eq!(climb(&blind, [behind(0.0); 8]).0, [Functional]);
}

#[test]
fn without_validation_the_diagnosis_chooses() {
    let blind = Known {
        has_validation: false,
        fixed_points: Some(0.1),
        ..KNOWN
    };
    let taken = |known: &Known| climb(known, [behind(0.0); 8]).0;
    assert_eq!(taken(&blind), [Functional]);
    assert_eq!(
        taken(&Known {
            has_train: false,
            ..blind
        }),
        [WeightMatching]
    );
    for related in [
        Known {
            cosine: Some(0.5),
            fixed_points: None,
            ..blind
        },
        Known {
            fixed_points: Some(0.5),
            ..blind
        },
        Known {
            cosine: None,
            fixed_points: Some(1.0),
            ..blind
        },
    ] {
        assert_eq!(taken(&related), [Identity]);
    }
    let reason = next(&blind, &[], None).expect("a rung").reason;
    assert!(
        reason.contains("0.100") && reason.contains("10.0 %"),
        "{reason}"
    );
}

#[test]
fn without_its_network_identity_is_all_there_is() {
    for (cosine, relation) in [(0.9, "of one lineage"), (0.1, "unrelated")] {
        let known = Known {
            by_names: true,
            cosine: Some(cosine),
            has_validation: false,
            has_train: false,
            ..KNOWN
        };
        let mut steps = Vec::new();
        while let Some(step) = next(&known, &steps, None) {
            steps.push(step);
        }
        let taken = steps
            .iter()
            .filter(|step| step.taken)
            .map(|step| step.method);
        assert_eq!(taken.collect::<Vec<_>>(), [Identity]);
        assert!(steps[0].reason.contains(relation), "{}", steps[0].reason);
        assert!(
            steps[2].reason.contains("only identity"),
            "{}",
            steps[2].reason
        );
    }
}

#[test]
fn alpha_by_group_is_tried_where_it_is_cheaper_than_an_epoch() {
    let leader = Leader {
        method: Identity,
        accuracy: 0.6,
        old: 0.9,
        samples: 512,
        standing: Standing::Behind,
        outdoes_permutations: false,
    };
    let cheap = Price {
        search: 1000,
        epoch: 1000,
    };
    let dear = Price {
        search: 1001,
        ..cheap
    };
    let taken = |known: &Known, leader: &Leader, price| {
        by_group(known, Some(leader), price).map(|step| (step.method, step.by_group, step.taken))
    };
    assert_eq!(taken(&KNOWN, &leader, cheap), Some((Identity, true, true)));
    assert_eq!(taken(&KNOWN, &leader, dear), Some((Identity, true, false)));

    let enough = Leader {
        standing: Standing::WithinMargin,
        ..leader
    };
    assert_eq!(taken(&KNOWN, &enough, cheap), Some((Identity, true, false)));
    let untrained = Known {
        has_train: false,
        ..KNOWN
    };
    assert_eq!(
        taken(&untrained, &leader, cheap),
        Some((Identity, true, false))
    );
    let unvalidated = Known {
        has_validation: false,
        ..KNOWN
    };
    assert_eq!(taken(&unvalidated, &leader, cheap), None);
}

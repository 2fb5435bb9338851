//! Every target, for a while that is the same on every machine.

use genlock_fuzz::run::{Until, Watched, fuzz};
use genlock_fuzz::targets;

#[test]
fn no_target_has_a_finding_in_its_first_inputs() {
    for target in targets::ALL {
        let corpus = targets::corpus(target.name);
        for seed in 1..=2 {
            let done = fuzz(target, &corpus, Until::Runs(10_000), seed, &Watched::default());
            let report = done.unwrap_or_else(|finding| {
                panic!("{}: {}; input {:x?}", target.name, finding.what, finding.input)
            });
            assert!(report.kinds > 3, "{}: {report}", target.name);
        }
    }
}

#[test]
fn a_seed_repeats_its_runs() {
    let demux = targets::ALL.iter().find(|target| target.name == "demux").expect("it is there");
    let run = |seed| {
        let report = fuzz(demux, &[], Until::Runs(500), seed, &Watched::default());
        let report = report.expect("no finding");
        (report.kinds, report.kept)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

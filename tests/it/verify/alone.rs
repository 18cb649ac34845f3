//! A lane by itself, cut wherever it is, is accused by no heartbeat; cut together with others it is.

use haetae_verify::{
    Finding,
    finding::RecordFault,
    report::{Exit, Open},
};

use super::export::{Export, Texts};
use super::{check, lanes};

#[test]
fn a_lane_alone_is_not_accused_wherever_it_is_cut() {
    // Its heartbeats are of itself and of another lane, half an hour before the file was made.
    let (_, mut beat, _) = lanes();
    for to in 1..=4 {
        beat.checkpoints = vec![to];
        let report = check(&Export::of(&[&beat], &Texts::default()));
        let another = if to > 1 { vec![Open::LaneNotShown { lane: 0 }] } else { vec![] };
        assert_eq!((report.findings.as_slice(), &report.open), (&[][..], &another), "{to}");
        let exit = if to > 1 { Exit::Incomplete } else { Exit::Whole };
        assert_eq!(report.exit(), exit, "{to}");
    }
}

#[test]
fn lanes_that_are_cut_at_one_index_accuse_each_other() {
    let (mut main, beat, texts) = lanes();
    main.checkpoints = vec![1];
    let found = check(&Export::of(&[&main, &beat], &texts)).findings;
    let shorter =
        |found: &Finding| matches!(found, Finding::Record(_, RecordFault::Shorter { .. }));
    assert!(found.iter().any(shorter), "{found:?}");
}

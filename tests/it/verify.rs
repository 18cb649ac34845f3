//! The offline verifier finds every change, drop and reordering in an exported log, names the exact place, and says
//! of a whole log that it is whole.

#![expect(
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::cloned_ref_to_slice_refs,
    clippy::similar_names,
    reason = "of a test: every number here is small"
)]

mod alone;
mod bounded;
mod dated;
mod evidence;
mod export;
mod forged;
mod in_force;
mod joined;
mod parts;
mod replay;

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae_verify::{
    Finding, Report, Trust,
    export::Digest,
    finding::{Contradiction, FileFault, Judged, OpenFault, Place, RecordFault, TreeFault},
    report::{Exit, Open},
    trust::Doubt,
    verify,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tlog::{Hash, Signer, SigningKey, key::Kind};
use verdict::decision::Outcome;

use export::{Export, Lane, Texts, leaf_line, on_disk};

/// Lane 0: 602 records, two full tiles and a rest, the last twelve not yet projected. Lane 1: a heartbeat over both.
fn lanes() -> (Lane, Lane, Texts) {
    let mut texts = Texts::default();
    let (home, away) = (texts.decide("KR", "d@1"), texts.decide("JP", "d@1"));
    let (mut main, mut beat) = (Lane::open(0), Lane::open(1));
    for n in 0..200 {
        if n == 100 {
            main.claim();
        }
        let decision = main.decision(if n % 3 == 0 { &away } else { &home }, json!({}));
        if n % 3 != 0 {
            main.forward(&decision);
        }
        // A refusal has no end; two records more keep the count at three a round.
        if n == 0 {
            main.announce(&home);
            main.push("some_later_kind", json!({}));
        } else if n % 3 == 0 {
            main.push("alarm", json!({ "about": "a test", "what": "test" }));
            main.push("some_later_kind", json!({}));
        }
    }
    main.projected = 590;
    main.checkpoints = vec![1, 100, 300, 602];
    for (seen, own) in [(300, 1), (602, 2)] {
        let heads = [main.head(seen), beat.head(own)];
        beat.push("heartbeat", json!({ "heads": heads }));
    }
    beat.push("lane_close", json!({ "why": "drain" }));
    beat.checkpoints = vec![4];
    (main, beat, texts)
}

fn whole() -> Export {
    let (main, beat, texts) = lanes();
    Export::of(&[&main, &beat], &texts)
}

fn check(export: &Export) -> Report {
    check_bytes(&export.bytes(), &Trust::Keys(export.keys.clone()))
}

fn check_bytes(bytes: &[u8], trust: &Trust) -> Report {
    let (_folder, path) = on_disk(bytes);
    verify(&path, trust).unwrap()
}

fn id(lane: u16, index: u64) -> String {
    format!("01900000-0000-7000-8{lane:03x}-{index:012x}")
}

/// The digest of the rules by which [`lanes`] decide.
fn rules() -> Digest {
    Digest::parse(Texts::default().decide("KR", "d@1").fields["bundle"].as_str().unwrap()).unwrap()
}

fn at(lane: u16, index: u64, fault: RecordFault) -> Finding {
    Finding::Record(Place { lane, index, id: Some(id(lane, index)) }, fault)
}

#[test]
fn a_whole_log_is_whole() {
    let export = whole();
    let report = check(&export);
    assert_eq!((report.exit(), report.findings, report.open), (Exit::Whole, vec![], vec![]));
    let counts = &report.counts;
    assert_eq!((counts.lanes, counts.records, counts.checkpoints, counts.tiles), (2, 606, 5, 2));
    assert_eq!((counts.decisions, counts.judged, counts.not_judgeable), (200, 200, 0));
    assert_eq!((counts.texts, counts.unknown_kinds, counts.without_end), (5, 67, 0));
    assert_eq!(counts.lines, export.lines.len() as u64 + 1);
}

#[test]
fn a_part_of_a_log_is_sound_and_not_whole() {
    let (mut main, beat, texts) = lanes();
    main.from = 257;
    let report = check(&Export::of(&[&main, &beat], &texts));
    let later = Open::NotFromStart { lane: 0, from: 257 };
    assert_eq!((report.exit(), report.findings), (Exit::Incomplete, vec![]));
    // By which rules it was decided is said before.
    let rules = Open::Bundles(vec![rules()]);
    assert_eq!(report.open, [later.clone(), rules.clone()]);
    // Checkpoints of sizes that lie before it say nothing about it.
    assert_eq!((report.counts.records, report.counts.checkpoints), (602 - 257 + 4, 3));

    // Nothing of a lane needs no checkpoint of it, and shows nothing to who has its key.
    let mut none = Lane::open(2);
    (none.from, none.checkpoints) = (1, vec![1]);
    let mut export = Export::of(&[&main, &beat, &none], &texts);
    let line = export.find("checkpoint", &[("lane", 2.into())]);
    export.lines.remove(line);
    let none = Open::NotShown { origin: "gw.example/log/2".into() };
    let open = vec![later, Open::NotFromStart { lane: 2, from: 1 }, none, rules];
    assert_eq!((check(&export).findings, check(&export).open), (vec![], open));

    let mut export = Export::of(&[&main, &beat], &texts);
    export.lines[0]["lanes"][0]["left"].as_array_mut().unwrap().pop();
    let left = Finding::Tree(TreeFault::Left { lane: 0 });
    assert_eq!(check(&export).findings, [left]);
}

#[test]
fn one_byte_of_a_record() {
    for index in [5, 260, 600] {
        let mut export = whole();
        let line = export.leaf(0, index);
        edit(&mut export.lines[line], |leaf| leaf["nonce"] = STANDARD.encode([8; 16]).into());
        let edited = at(0, index as u64, RecordFault::Edited);
        assert_eq!(check(&export).findings, [edited.clone()]);
        // Without care for the last line the file as a whole is found too.
        let end = whole().bytes();
        let end = end[..end.len() - 1].rsplit(|byte| *byte == b'\n').next().unwrap();
        let mut careless = export.bytes();
        let body = careless[..careless.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        careless.truncate(body + 1);
        careless.extend([end, b"\n"].concat());
        let report = check_bytes(&careless, &Trust::Keys(export.keys.clone()));
        assert_eq!(report.findings, [Finding::File(FileFault::Sha256), edited]);
    }
}

#[test]
fn a_record_edited_with_its_mark_is_found_by_its_tile_and_without_one_by_the_root() {
    for (index, finding) in [
        (5, at(0, 5, RecordFault::Edited)),
        (600, Finding::Tree(TreeFault::Root { lane: 0, from: 300, to: 602 })),
    ] {
        let mut export = whole();
        let line = export.leaf(0, index);
        remark(&mut export.lines[line], |leaf| leaf["nonce"] = STANDARD.encode([8; 16]).into());
        assert_eq!(check(&export).findings, [finding]);
    }
}

#[test]
fn a_record_edited_with_mark_and_tile_is_found_by_the_next_root() {
    let mut export = whole();
    let line = export.leaf(0, 120);
    remark(&mut export.lines[line], |leaf| leaf["nonce"] = STANDARD.encode([8; 16]).into());
    let hash = Hash::leaf(&STANDARD.decode(export.lines[line]["bytes"].as_str().unwrap()).unwrap());
    let tile = export.find("tile", &[("n", 0.into())]);
    let mut hashes = STANDARD.decode(export.lines[tile]["hashes"].as_str().unwrap()).unwrap();
    hashes[120 * 32..121 * 32].copy_from_slice(&hash.0);
    export.lines[tile]["hashes"] = STANDARD.encode(hashes).into();
    let root = Finding::Tree(TreeFault::Root { lane: 0, from: 100, to: 300 });
    assert_eq!(check(&export).findings, [root]);
}

#[test]
fn a_mark_or_a_tile_that_was_changed_alone_is_found_where_it_differs() {
    let mut export = whole();
    let line = export.leaf(0, 600);
    export.lines[line]["mark"] = STANDARD.encode([0; 8]).into();
    assert_eq!(check(&export).findings, [at(0, 600, RecordFault::Edited)]);

    let mut export = whole();
    let tile = export.find("tile", &[("n", 1.into())]);
    let mut hashes = STANDARD.decode(export.lines[tile]["hashes"].as_str().unwrap()).unwrap();
    hashes[32] ^= 1;
    export.lines[tile]["hashes"] = STANDARD.encode(hashes).into();
    let found = check(&export).findings;
    assert_eq!(found[0], at(0, 257, RecordFault::Edited));
    // The tile is believed, so the root it leads to is another one, and that is said as well.
    assert_eq!(found[1..], [Finding::Tree(TreeFault::Root { lane: 0, from: 100, to: 300 })]);
}

#[test]
fn a_record_that_was_deleted() {
    for index in [5_u64, 260, 600] {
        let mut export = whole();
        let line = export.leaf(0, index as usize);
        remove_with_row(&mut export, line);
        let missing = Finding::Tree(TreeFault::Missing { lane: 0, from: index, to: index + 1 });
        assert_eq!(check(&export).findings.last(), Some(&missing), "{:?}", check(&export).findings);
        assert_eq!(check(&export).findings.len(), 1);
    }
}

#[test]
fn two_records_that_were_swapped() {
    // Their bytes, in the places of each other.
    for (a, b) in [(18, 27), (18, 594), (592, 594)] {
        let mut export = whole();
        let lines = [a, b].map(|index| export.leaf(0, index));
        for key in ["bytes", "mark"] {
            let kept = lines.map(|line| export.lines[line][key].clone());
            export.lines[lines[0]][key] = kept[1].clone();
            export.lines[lines[1]][key] = kept[0].clone();
        }
        let moved = |here: usize, from: usize| {
            let place = Place { lane: 0, index: here as u64, id: Some(id(0, from as u64)) };
            Finding::Record(place, RecordFault::Moved { lane: 0, index: from as u64 })
        };
        assert_eq!(check(&export).findings, [moved(a, b), moved(b, a)]);
    }
    // Their lines. Both are alarms, which have no rows.
    let mut export = whole();
    let (a, b) = (export.leaf(0, 2), export.leaf(0, 3));
    export.lines.swap(a, b);
    assert_eq!(check(&export).findings, [at(0, 2, RecordFault::OutOfOrder)]);
    // One line twice.
    let mut export = whole();
    let line = export.leaf(0, 2);
    export.lines.insert(line, export.lines[line].clone());
    assert_eq!(check(&export).findings, [at(0, 2, RecordFault::Repeated)]);
}

#[test]
fn a_checkpoint_that_is_not_what_was_signed() {
    let checkpoint = |doubt| Finding::Tree(TreeFault::Checkpoint { lane: 0, size: 300, doubt });
    let touch = |change: &dyn Fn(&str) -> String| {
        let mut export = whole();
        let line = export.find("checkpoint", &[("lane", 0.into()), ("size", 300.into())]);
        let note = export.lines[line]["note"].as_str().unwrap().to_owned();
        export.lines[line]["note"] = change(&note).into();
        check(&export).findings
    };
    // A letter in the middle of the signature.
    let bad = touch(&|note| {
        let middle = note.len() - 40;
        let other = if note.as_bytes()[middle] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &note[..middle], &note[middle + 1..])
    });
    assert_eq!(bad, [checkpoint(Doubt::BadSignature)]);
    let root = Hash::leaf(b"another tree").to_string();
    let line = |note: &str, at: usize| note.split('\n').nth(at).unwrap().to_owned();
    assert_eq!(
        touch(&|note| note.replace(&line(note, 2), &root)),
        [checkpoint(Doubt::BadSignature)]
    );
    assert_eq!(touch(&|_| "nothing".into()), [checkpoint(Doubt::Unreadable)]);
    let signed_by = |name: &str, seed: u8| {
        let key = SigningKey::from_seed(name, Kind::Ed25519, &[seed; 32]).unwrap();
        move |note: &str| {
            let (text, _) = note.split_once("\n\n").unwrap();
            tlog::Note::sign(format!("{text}\n"), &key).unwrap().to_string()
        }
    };
    assert_eq!(touch(&signed_by("gw.example/log/0", 99)), [checkpoint(Doubt::Unsigned)]);
}

#[test]
fn a_text_that_was_changed_or_is_gone() {
    let (main, beat, texts) = lanes();
    let export = Export::of(&[&main, &beat], &texts);
    let facts = export.lines.iter().position(|line| line["kind"] == "facts").unwrap();

    let mut changed = Export::of(&[&main, &beat], &texts);
    let digest = STANDARD.encode(b"other facts");
    changed.lines[facts]["bytes"] = digest.into();
    let report = check(&changed);
    let [Finding::File(FileFault::Text { line, digest })] = report.findings.as_slice() else {
        panic!("{:?}", report.findings);
    };
    assert_eq!(*line, facts as u64 + 1);
    assert_eq!(digest.to_string(), export.lines[facts]["digest"].as_str().unwrap());

    // Gone altogether (purged): nothing is wrong, but not everything can be judged.
    let mut purged = Export::of(&[&main, &beat], &texts);
    purged.lines.remove(facts);
    let report = check(&purged);
    let gone = report.counts.not_judgeable;
    assert_eq!((report.exit(), report.findings), (Exit::Incomplete, vec![]));
    assert_eq!(report.open, [Open::NotJudgeable(gone), Open::TextsMissing(1)]);
    assert!([67, 133].contains(&gone) && gone + report.counts.judged == 200, "{gone}");

    let mut spare = texts;
    spare.keep("facts", b"{}".to_vec());
    let report = check(&Export::of(&[&main, &beat], &spare));
    assert!(matches!(report.findings.as_slice(), [Finding::File(FileFault::SpareText { .. })]));
}

#[test]
fn a_row_that_differs_from_its_record() {
    let row = |index: u64| {
        let export = whole();
        let line = export.leaf(0, index as usize) + 1;
        assert_eq!(export.lines[line]["row"]["index"], index);
        (export, line)
    };
    for (key, value) in
        [("outcome", json!("DENY")), ("org", json!("org-b")), ("at", json!("later"))]
    {
        let (mut export, line) = row(4);
        export.lines[line]["row"][key] = value;
        assert_eq!(check(&export).findings, [at(0, 4, RecordFault::RowDiffers(key.into()))]);
    }
    let (mut export, line) = row(4);
    export.lines[line]["row"]["extra"] = true.into();
    assert_eq!(check(&export).findings, [at(0, 4, RecordFault::RowDiffers("extra".into()))]);
    let (mut export, line) = row(4);
    let removed = export.lines.remove(line);
    assert_eq!(check(&export).findings, [at(0, 4, RecordFault::RowMissing)]);
    export.lines.insert(line, removed.clone());
    export.lines.insert(line + 1, removed.clone());
    let loose = Finding::File(FileFault::LooseRow { line: line as u64 + 2 });
    assert_eq!(check(&export).findings, [loose]);
    // After a record that has none.
    let mut export = whole();
    let line = export.leaf(0, 0);
    export.lines.insert(line + 1, removed);
    assert_eq!(check(&export).findings, [at(0, 0, RecordFault::SpareRow)]);
}

#[test]
fn a_file_that_was_cut() {
    let export = whole();
    let bytes = export.bytes();
    let keys = Trust::Keys(export.keys.clone());
    // In the middle of the line of record 500: its line and all that follow are not there.
    let line = export.leaf(0, 500);
    let start: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(line).map(<[u8]>::len).sum();
    let report = check_bytes(&bytes[..start + 10], &keys);
    assert_eq!(report.exit(), Exit::Finding);
    assert_eq!(
        report.findings,
        [
            Finding::File(FileFault::Cut { line: line as u64 }),
            Finding::Tree(TreeFault::Missing { lane: 0, from: 500, to: 602 }),
            Finding::Tree(TreeFault::Missing { lane: 1, from: 0, to: 4 }),
        ]
    );
    // Only the last line is missing.
    let body = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let cut = Finding::File(FileFault::Cut { line: export.lines.len() as u64 });
    assert_eq!(check_bytes(&bytes[..body], &keys).findings, [cut]);
    // Something behind the end.
    let after = Finding::File(FileFault::After { line: export.lines.len() as u64 + 2 });
    assert_eq!(check_bytes(&[bytes.as_slice(), b"{}\n"].concat(), &keys).findings, [after]);
}

#[test]
fn a_lane_cut_back_to_an_older_checkpoint_contradicts_the_heartbeats() {
    let (mut main, beat, mut texts) = lanes();
    main.checkpoints = vec![1, 100, 300];
    let export = Export::of(&[&main, &beat], &texts);
    assert_eq!(
        check(&export).findings,
        [at(1, 2, RecordFault::Shorter { lane: 0, size: 602, to: 300 })]
    );
    // Grown again from there with other records, all of them signed: the root that was seen is another.
    main.leaves.truncate(300);
    let away = texts.decide("JP", "d@1");
    while main.leaves.len() < 602 {
        main.decision(&away, json!({}));
    }
    main.checkpoints = vec![1, 100, 300, 602];
    let export = Export::of(&[&main, &beat], &texts);
    let head = at(1, 2, RecordFault::Head { lane: 0, size: 602 });
    assert!(check(&export).findings.contains(&head), "{:?}", check(&export).findings);
}

#[test]
fn a_kept_checkpoint_shows_what_the_file_alone_does_not() {
    let (mut main, _, mut texts) = lanes();
    let whole = Export::of(&[&main], &texts);
    let note = |export: &Export, size: u64| {
        let line = export.find("checkpoint", &[("lane", 0.into()), ("size", size.into())]);
        export.lines[line]["note"].as_str().unwrap().to_owned()
    };
    let kept = [note(&whole, 300), note(&whole, 602)];
    let since = |export: &Export| {
        let (_folder, path) = on_disk(&export.bytes());
        haetae_verify::verify_since(&path, &Trust::Keys(export.keys.clone()), &kept).unwrap()
    };
    assert_eq!(since(&whole).exit(), Exit::Whole);
    // The tail is cut off with its checkpoints: the file is whole in itself.
    main.checkpoints = vec![1, 100, 300];
    let cut = Export::of(&[&main], &texts);
    assert_eq!(check(&cut).exit(), Exit::Whole);
    let missing = Finding::Tree(TreeFault::Behind { lane: 0, from: 300, to: 602 });
    // Whoever has an old file and a new checkpoint is not told that somebody cut it.
    let said = missing.text();
    assert!(said.en.contains("index 300 to 601") && said.en.contains("made before it"));
    assert!(said.ko.contains("먼저 만들어졌습니다"), "{}", said.ko);
    assert_eq!(since(&cut).findings, [missing]);
    // Written anew from there, and signed with the right key.
    main.leaves.truncate(300);
    let away = texts.decide("JP", "d@1");
    while main.leaves.len() < 602 {
        main.decision(&away, json!({}));
    }
    main.checkpoints = vec![1, 100, 300, 602];
    let anew = Export::of(&[&main], &texts);
    let root = Finding::Tree(TreeFault::Root { lane: 0, from: 300, to: 602 });
    assert!(since(&anew).findings.contains(&root), "{:?}", since(&anew).findings);
    // A part that begins later cannot be compared.
    (main.from, main.checkpoints) = (400, vec![602]);
    let open = since(&Export::of(&[&main], &texts)).open;
    let later = Open::NotFromStart { lane: 0, from: 400 };
    let rules = Open::Bundles(vec![rules()]);
    assert_eq!(open, [later, Open::NotCompared { lane: 0, size: 300 }, rules]);
}

#[test]
fn a_lane_that_is_not_shown_is_said() {
    let (main, beat, _) = lanes();
    let keys = Export::of(&[&main, &beat], &Texts::default()).keys;
    let export = Export::of(&[&beat], &Texts::default());
    let report = check_bytes(&export.bytes(), &Trust::Keys(keys));
    let origin = "gw.example/log/0".to_owned();
    assert_eq!(
        (report.exit(), report.findings, report.open),
        (Exit::Incomplete, vec![], vec![Open::LaneNotShown { lane: 0 }, Open::NotShown { origin }])
    );
}

#[test]
fn a_decision_that_does_not_follow_from_its_record() {
    let mut texts = Texts::default();
    let (home, away) = (texts.decide("KR", "d@1"), texts.decide("JP", "d@1"));
    let site = json!({ "site": "s-1", "identity": "x", "request": {} });
    let with = |mut base: Value, more: Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let no_site = json!({ "site": null, "identity": null, "request": null });
    let outcome = |stated, judged| Judged::Outcome { stated: Some(stated), judged };
    for (decided, lie, found) in [
        (
            &away,
            with(site.clone(), json!({ "outcome": "ALLOW" })),
            Some(outcome(Outcome::Allow, Outcome::Deny)),
        ),
        (&away, json!({ "outcome": "HOLD" }), Some(outcome(Outcome::Hold, Outcome::Deny))),
        (
            &home,
            with(no_site.clone(), json!({ "outcome": "DENY" })),
            Some(outcome(Outcome::Deny, Outcome::Allow)),
        ),
        (&away, json!({ "reason": "NO_GROUND" }), Some(Judged::Reason)),
        (&away, json!({ "rule": "R2" }), Some(Judged::Rule)),
        (&away, json!({ "rule": null }), Some(Judged::Rule)),
        (&home, json!({ "site": "s-2" }), Some(Judged::Site)),
        (&home, json!({ "site": null }), Some(Judged::SiteShape)),
        (&away, site, Some(Judged::SiteShape)),
        (&away, json!({ "detail": home.fields["detail"] }), Some(Judged::Detail)),
        (&away, json!({ "facts": home.fields["facts"] }), Some(Judged::Detail)),
        (
            &home,
            json!({ "reason": "NO_SUCH" }),
            Some(Judged::Unusable("`reason` is missing or wrong".into())),
        ),
        // The gateway may be stricter for a cause of its own, and the second engine is not judged again.
        (
            &home,
            with(no_site.clone(), json!({ "outcome": "DENY", "reason": "SITE_TIMEOUT" })),
            None,
        ),
        (
            &home,
            with(
                no_site,
                json!({ "outcome": "DENY", "reason": "ENGINE_DISAGREEMENT", "detail": home.fields["facts"] }),
            ),
            None,
        ),
    ] {
        let mut lane = Lane::open(0);
        let allows = decided.outcome == "ALLOW" && lie["outcome"].is_null();
        let decision = lane.decision(decided, lie.clone());
        if allows {
            lane.forward(&decision);
        }
        lane.checkpoints = vec![lane.leaves.len()];
        let mut named = Texts::default();
        let leaf: Value = serde_json::from_slice(&lane.leaves[1]).unwrap();
        for (digest, kept) in &texts.0 {
            if ["facts", "detail", "bundle"].iter().any(|key| leaf[*key] == STANDARD.encode(digest))
            {
                named.0.insert(*digest, kept.clone());
            }
        }
        let found: Vec<Finding> =
            found.into_iter().map(|judged| at(0, 1, RecordFault::Judged(judged))).collect();
        let report = check(&Export::of(&[&lane], &named));
        let report: Vec<Finding> =
            report.findings.into_iter().filter(|found| found.code() != "text_kind").collect();
        assert_eq!(report, found, "{lie}");
    }
}

#[test]
fn the_order_of_a_lane_is_kept() {
    let base = || {
        let mut texts = Texts::default();
        let home = texts.decide("KR", "d@1");
        (Lane::open(0), home, texts)
    };
    let found = |mut lane: Lane, texts: &Texts| {
        lane.checkpoints = vec![lane.leaves.len()];
        check(&Export::of(&[&lane], texts)).findings
    };
    let none = Texts::default();

    let (mut lane, ..) = base();
    lane.push("alarm", json!({ "at": "2026-11-23T16:00:00.000000001Z" }));
    assert_eq!(found(lane, &none), [at(0, 1, RecordFault::Time)]);

    let (mut lane, ..) = base();
    lane.push("alarm", json!({ "epoch": 2 }));
    assert_eq!(found(lane, &none), [at(0, 1, RecordFault::LaneOpen(OpenFault::Missing))]);

    let (mut lane, ..) = base();
    lane.claim();
    lane.push("alarm", json!({ "epoch": 1 }));
    assert_eq!(found(lane, &none), [at(0, 2, RecordFault::Epoch)]);

    let (mut lane, ..) = base();
    lane.epoch = 0;
    lane.claim();
    assert_eq!(found(lane, &none), [at(0, 1, RecordFault::LaneOpen(OpenFault::Spare))]);

    let (mut lane, ..) = base();
    lane.leaves.clear();
    lane.push("alarm", json!({}));
    assert_eq!(found(lane, &none), [at(0, 0, RecordFault::LaneOpen(OpenFault::Missing))]);

    for (lie, fault) in [
        (json!({ "root": Hash::leaf(b"other").to_string() }), OpenFault::Root),
        (json!({ "size": 2 }), OpenFault::Size),
        (json!({ "origin": "gw.example/log/1" }), OpenFault::Origin),
    ] {
        let (mut lane, ..) = base();
        let mut honest: Value = serde_json::from_slice(&lane.leaves[0]).unwrap();
        honest["root"] = lane.root(1).into();
        honest["size"] = 1.into();
        let (mut fields, mut kept) = (json!({ "epoch": 2 }), honest);
        for key in ["root", "size", "origin", "version"] {
            fields[key] = kept[key].take();
        }
        fields.as_object_mut().unwrap().extend(lie.as_object().unwrap().clone());
        lane.push("lane_open", fields);
        assert_eq!(found(lane, &none), [at(0, 1, RecordFault::LaneOpen(fault))]);
    }

    let (mut lane, home, texts) = base();
    lane.push("fact_change", json!({ "version": 8, "previous": 7 }));
    lane.decision(&home, json!({}));
    let version = RecordFault::FactVersion { stated: 7, in_force: 8 };
    assert_eq!(found(lane, &texts), [at(0, 2, version)]);

    let (mut lane, ..) = base();
    lane.push("alarm", json!({ "id": id(0, 0) }));
    let place = Place { lane: 0, index: 1, id: Some(id(0, 0)) };
    let same = Finding::Record(place, RecordFault::SameId { lane: 0, index: 0 });
    assert_eq!(found(lane, &none), [same]);

    let (mut lane, ..) = base();
    lane.push("alarm", json!({ "v": 2 }));
    let place = Place { lane: 0, index: 1, id: None };
    assert_eq!(found(lane, &none), [Finding::Record(place, RecordFault::Unreadable("v"))]);

    let (mut lane, ..) = base();
    lane.push("alarm", json!({}));
    let spaced = String::from_utf8(lane.leaves[1].clone()).unwrap().replace("\"v\":1", "\"v\": 1");
    lane.leaves[1] = spaced.into_bytes();
    assert_eq!(found(lane, &none), [at(0, 1, RecordFault::NotCanonical)]);
}

#[test]
fn what_follows_a_decision_fits_it() {
    let mut texts = Texts::default();
    let (home, away) = (texts.decide("KR", "d@1"), texts.decide("JP", "d@1"));
    let mut lane = Lane::open(0);
    let refused = lane.decision(&away, json!({}));
    lane.push("ended", json!({ "decision": refused }));
    let twice = lane.decision(&home, json!({}));
    lane.forward(&twice);
    lane.push("ended", json!({ "decision": twice }));
    lane.push("started", json!({ "decision": id(0, 8) }));
    lane.decision(&home, json!({}));
    lane.push("ended", json!({ "decision": id(9, 9) }));
    let [cut, other] = [(); 2].map(|()| lane.decision(&home, json!({})));
    let by = lane.decision(&away, json!({ "judges_again": cut }));
    lane.push("ended", json!({ "decision": cut, "cut_by": by }));
    lane.push("ended", json!({ "decision": other, "cut_by": by }));
    lane.checkpoints = vec![lane.leaves.len()];
    let report = check(&Export::of(&[&lane], &texts));
    let follows = |index, contradiction| at(0, index, RecordFault::Follows(contradiction));
    assert_eq!(
        report.findings,
        [
            follows(2, Contradiction::Refused),
            follows(6, Contradiction::Twice),
            follows(7, Contradiction::Early),
            follows(14, Contradiction::NotItsCut),
        ]
    );
    assert_eq!(report.counts.without_end, 1);
}

#[test]
fn whom_one_trusts_decides_what_is_proved() {
    let export = whole();
    let bytes = export.bytes();
    // Nobody: the file agrees with itself, and that is all.
    let report = check_bytes(&bytes, &Trust::File);
    assert_eq!(
        (report.exit(), report.findings, report.open),
        (Exit::Incomplete, vec![], vec![Open::OwnKeys])
    );
    let said = Open::OwnKeys.text();
    assert!(said.en.starts_with(
        "the keys are from the export itself, so this proves only that the file agrees with itself"
    ));
    assert!(said.ko.contains("스스로"));
    // One of two lanes.
    let report = check_bytes(&bytes, &Trust::Keys(export.keys[..1].to_vec()));
    let origin = "gw.example/log/1".to_owned();
    assert_eq!(
        (report.exit(), report.open),
        (Exit::Incomplete, vec![Open::Untrusted { lane: 1, origin }])
    );
    // Another key under the same name.
    let stranger = SigningKey::from_seed("gw.example/log/0", Kind::Ed25519, &[77; 32]).unwrap();
    let report = check_bytes(
        &bytes,
        &Trust::Keys(vec![stranger.verifier().clone(), export.keys[1].clone()]),
    );
    let doubt =
        |size| Finding::Tree(TreeFault::Checkpoint { lane: 0, size, doubt: Doubt::Unsigned });
    assert_eq!(report.findings, [1, 100, 300, 602].map(doubt));
    // A trust file, without and with a witness that nobody asked.
    let [a, b] = export.keys.as_slice() else { panic!("two lanes") };
    let witness = SigningKey::from_seed("witness.example", Kind::Cosignature, &[5; 32]).unwrap();
    let policy = |quorum: &str| {
        let text = format!("log {a}\nlog {b}\nwitness W {}\nquorum {quorum}\n", witness.verifier());
        Trust::Policy(text.parse().unwrap())
    };
    assert_eq!(check_bytes(&bytes, &policy("none")).exit(), Exit::Whole);
    let quorum = |lane, size| Finding::Tree(TreeFault::Quorum { lane, size, cosigned: 0 });
    assert_eq!(check_bytes(&bytes, &policy("W")).findings, [quorum(0, 602), quorum(1, 4)]);
}

#[test]
fn lines_out_of_place_and_headers_that_lie() {
    let mut export = whole();
    export.lines.swap(3, 4);
    assert_eq!(check(&export).findings[0], Finding::File(FileFault::Order { line: 5 }));

    let mut export = whole();
    export.lines[0]["lanes"][0]["to"] = 601.into();
    let found = check(&export).findings;
    assert!(found.contains(&Finding::Tree(TreeFault::Uncovered { lane: 0, to: 601, last: 602 })));
    assert!(found.contains(&at(0, 601, RecordFault::Outside)));

    // As large a lie as the format can tell ends no later than the file.
    let mut export = whole();
    export.lines[0]["lanes"][0]["to"] = ((1_u64 << 53) - 1).into();
    let found = check(&export).findings;
    assert!(found.contains(&Finding::Tree(TreeFault::TileMissing { lane: 0, level: 0, n: 2 })));
    assert!(found.contains(&Finding::Tree(TreeFault::Missing {
        lane: 0,
        from: 602,
        to: (1 << 53) - 1
    })));

    let mut export = whole();
    export.lines.insert(3, json!({ "type": "something else" }));
    assert_eq!(check(&export).findings, [Finding::File(FileFault::NotALine { line: 4 })]);

    let (_folder, path) = on_disk(b"{\"type\":\"end\"}\n");
    let error = verify(&path, &Trust::File).unwrap_err().to_string();
    assert!(error.starts_with("not an export of version 1"), "{error}");
}

#[test]
fn a_tile_of_the_second_level_names_the_first_that_differs() {
    let mut lane = Lane::open(0);
    lane.leaves = (0..65_537).map(|n| format!("{{\"kind\":\"{n}\"}}").into_bytes()).collect();
    lane.checkpoints = vec![65_536, 65_537];
    let mut export = Export::of(&[&lane], &Texts::default());
    export.lines.retain(|line| line["type"] != "leaf");
    // No record is there, and still the tiles alone lead to the root that was signed.
    let missing = Finding::Tree(TreeFault::Missing { lane: 0, from: 0, to: 65_537 });
    let report = check(&export);
    assert_eq!((report.counts.tiles, report.counts.checkpoints), (257, 1));
    assert_eq!(report.findings, [missing.clone()]);
    let above = export.find("tile", &[("level", 1.into())]);
    let mut hashes = STANDARD.decode(export.lines[above]["hashes"].as_str().unwrap()).unwrap();
    hashes[99 * 32] ^= 1;
    export.lines[above]["hashes"] = STANDARD.encode(hashes).into();
    let tile = Finding::Tree(TreeFault::Tile { lane: 0, level: 1, n: 0, at: 99 });
    assert_eq!(check(&export).findings, [tile, missing]);
}

#[test]
fn findings_say_where_in_two_languages() {
    let edited = at(0, 5, RecordFault::Edited);
    assert_eq!(
        edited.text().en,
        "lane 0, index 5, record 01900000-0000-7000-8000-000000000005: the record was changed after it was written: its hash is not the one that was kept"
    );
    assert_eq!(
        edited.text().ko,
        "레인 0, 인덱스 5, 기록 01900000-0000-7000-8000-000000000005: 기록이 작성된 뒤에 바뀌었습니다: 해시가 보관된 값과 다릅니다"
    );
    let json = edited.json();
    assert_eq!(
        (&json["code"], &json["lane"], &json["index"]),
        (&json!("record_edited"), &json!(0), &json!(5))
    );
    let range = Finding::Tree(TreeFault::Missing { lane: 2, from: 7, to: 10 });
    assert_eq!(range.text().en, "lane 2, index 7 to 9: the records are missing");
    let mut export = whole();
    let line = export.leaf(0, 5);
    remove_with_row(&mut export, line);
    let report = check(&export).json();
    assert_eq!(
        (&report["exit"], &report["findings"][0]["code"]),
        (&json!(1), &json!("records_missing"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever byte is changed, dropped or doubled, the file is never said to be whole, and nothing panics.
    #[test]
    fn no_touched_file_is_whole(place: usize, byte: u8, how in 0..3) {
        static WHOLE: std::sync::OnceLock<(Vec<u8>, Trust)> = std::sync::OnceLock::new();
        let (bytes, trust) = WHOLE.get_or_init(|| {
            let mut texts = Texts::default();
            let (home, mut lane) = (texts.decide("KR", "d@1"), Lane::open(0));
            for _ in 0..3 {
                let decision = lane.decision(&home, json!({}));
                lane.forward(&decision);
            }
            lane.announce(&home);
            lane.checkpoints = vec![4, 11];
            let export = Export::of(&[&lane], &texts);
            (export.bytes(), Trust::Keys(export.keys))
        });
        let mut touched = bytes.clone();
        let at = place % bytes.len();
        match how {
            0 => touched[at] = byte,
            1 => drop(touched.remove(at)),
            _ => touched.insert(at, byte),
        }
        prop_assume!(touched != *bytes);
        let (_folder, path) = on_disk(&touched);
        prop_assert!(verify(&path, trust).map_or(true, |report| report.exit() != Exit::Whole));
        fs::write(&path, bytes).unwrap();
        prop_assert_eq!(verify(&path, trust).unwrap().exit(), Exit::Whole);
    }
}

/// Changes a leaf and leaves its mark.
fn edit(line: &mut Value, change: impl Fn(&mut Value)) {
    let mut leaf: Value =
        serde_json::from_slice(&STANDARD.decode(line["bytes"].as_str().unwrap()).unwrap()).unwrap();
    change(&mut leaf);
    line["bytes"] = STANDARD.encode(verdict::canonical(&leaf).unwrap()).into();
}

/// Changes a leaf and its mark.
fn remark(line: &mut Value, change: impl Fn(&mut Value)) {
    edit(line, change);
    let bytes = STANDARD.decode(line["bytes"].as_str().unwrap()).unwrap();
    *line = leaf_line(0, usize::try_from(line["index"].as_u64().unwrap()).unwrap(), &bytes);
}

fn remove_with_row(export: &mut Export, line: usize) {
    let leaf = export.lines.remove(line);
    if export.lines[line]["row"]["index"] == leaf["index"] {
        export.lines.remove(line);
    }
}

//! Files that somebody without the keys could write: what they leave out, make up or let grow is said, or refused before it
//! costs anything, and what they print stays on its line. What the gateway writes is none of these.

use std::fmt::Write as _;
use std::fs::File;
use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::audit::{Range, export};
use haetae::clock::Clock;
use haetae_verify::{
    Finding, Report, Trust,
    finding::{FileFault, Judged, RecordFault, TreeFault},
    report::{Exit, Open},
    single::{self, Unproven},
    trust::Doubt,
    verify_since,
};
use serde_json::{Value, json};
use tlog::{Checkpoint, Hash, Receipt, Signer, SigningKey, VerifierKey, key::Kind};

use super::export::{BUNDLE, Export, Lane, Texts, on_disk};
use super::{at, check, check_bytes, lanes, whole};
use crate::support::python::python;
use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat, eventually};

/// A trust file of these lanes and one witness, which must cosign.
fn policy(export: &Export, witness: &SigningKey) -> Trust {
    let mut text = String::new();
    for key in &export.keys {
        writeln!(text, "log {key}").unwrap();
    }
    write!(text, "witness W {}\nquorum W\n", witness.verifier()).unwrap();
    Trust::Policy(text.parse().unwrap())
}

fn witness() -> SigningKey {
    SigningKey::from_seed("witness.example", Kind::Cosignature, &[5; 32]).unwrap()
}

/// A signature line of a key that did not sign.
fn junk(key: &SigningKey) -> String {
    let bytes = [&key.verifier().id().to_be_bytes()[..], &[0; 72]].concat();
    format!("\u{2014} {} {}\n", key.verifier().name(), STANDARD.encode(bytes))
}

#[test]
fn a_cosignature_that_does_not_fit_is_never_enough() {
    let (mut export, witness) = (whole(), witness());
    for line in export.lines.iter_mut().filter(|line| line["type"] == "checkpoint") {
        let note = line["note"].as_str().unwrap().to_owned();
        line["note"] = format!("{note}{}", junk(&witness)).into();
    }
    let doubt = |lane, size| {
        Finding::Tree(TreeFault::Checkpoint { lane, size, doubt: Doubt::BadCosignature })
    };
    let found = check_bytes(&export.bytes(), &policy(&export, &witness)).findings;
    assert_eq!(found, [doubt(0, 602), doubt(1, 4)]);
    assert!(found[0].text().en.ends_with("the cosignature of a known witness does not fit it"));
    assert!(found[0].text().ko.ends_with("알려진 증인의 공동 서명이 맞지 않습니다"));
    // To who knows no witness the line is a stranger's.
    assert_eq!(check(&export).exit(), Exit::Whole);

    // The same of one record's proof.
    let lane = Lane::open(0);
    let checkpoint = Checkpoint::new("gw.example/log/0".into(), 1, Hash::leaf(&lane.leaves[0]));
    let note = checkpoint.sign(&lane.key).unwrap().to_string();
    let proof = |checkpoint: String| {
        let extra = Some(lane.leaves[0].clone());
        Receipt { extra, index: 0, proof: Vec::new(), checkpoint }.to_string()
    };
    let trust = policy(&export, &witness);
    assert_eq!(single::check(&proof(note.clone()), &trust), Err(Unproven::Quorum(0)));
    let bad = single::check(&proof(format!("{note}{}", junk(&witness))), &trust);
    assert_eq!(bad, Err(Unproven::Checkpoint(Doubt::BadCosignature)));
}

/// The log of [`lanes`] and ten minutes of another lane; lane 0 is shown up to its record 300, as of this instant.
fn cut_back(created: Value) -> Export {
    let (mut main, mut beat, texts) = lanes();
    main.checkpoints = vec![1, 100, 300];
    beat.push("alarm", json!({ "at": "2026-11-23T16:10:00.000000000Z" }));
    beat.checkpoints = vec![5];
    let mut export = Export::of(&[&main, &beat], &texts);
    export.lines[0]["created"] = created;
    export
}

#[test]
fn what_the_header_says_of_its_time_does_not_hide_a_lane_that_was_cut_back() {
    let shorter = at(1, 2, RecordFault::Shorter { lane: 0, size: 602, to: 300 });
    let early = |seconds| Finding::File(FileFault::CreatedEarly { seconds });
    for (created, first) in [
        ("2026-11-23T16:30:00.000000000Z", None),
        ("2026-11-23T16:09:30.000000000Z", None),
        ("2026-11-23T16:08:59.000000000Z", Some(early(61))),
        ("1970-01-01T00:00:00.000000000Z", Some(early(1_795_450_200))),
        ("yesterday", Some(Finding::File(FileFault::Created))),
        ("", Some(Finding::File(FileFault::Created))),
    ] {
        let found = check(&cut_back(created.into())).findings;
        let expected: Vec<Finding> = first.into_iter().chain([shorter.clone()]).collect();
        assert_eq!(found, expected, "{created}");
    }
    let said = early(61).text();
    assert!(said.en.ends_with("made 61 s before its newest record was written"), "{}", said.en);
    assert!(said.ko.ends_with("61초 앞섭니다"), "{}", said.ko);
    assert_eq!(early(61).json()["code"], "file_created");

    // Within a minute nobody can say: checkpoints follow commits.
    let (mut main, mut beat, texts) = lanes();
    main.checkpoints = vec![1, 100, 300];
    beat.push("alarm", json!({ "at": "2026-11-23T16:00:59.000000000Z" }));
    beat.checkpoints = vec![5];
    let mut export = Export::of(&[&main, &beat], &texts);
    export.lines[0]["created"] = "2026-11-23T16:00:20.000000000Z".into();
    assert_eq!(check(&export).findings, []);
}

/// Whoever cuts every lane back to one instant says that the file is of that instant. A checkpoint of later would be newer than any
/// such file: so it is a finding whenever it was cosigned.
#[test]
fn a_kept_checkpoint_newer_than_what_the_file_says_of_itself_is_a_finding() {
    let (mut main, _, texts) = lanes();
    let root = main.root(602).parse().unwrap();
    let newest = Checkpoint::new("gw.example/log/0".into(), 602, root).sign(&main.key).unwrap();
    main.checkpoints = vec![300];
    let mut cut = Export::of(&[&main], &texts);
    // Of the second of its newest record, and the checkpoint was cosigned an hour later.
    cut.lines[0]["created"] = "2026-11-23T16:00:00.000000300Z".into();
    let said = tlog::cosignature::cosign(&newest, &witness(), 1_795_453_200).unwrap();
    let kept = [newest.to_string(), format!("{newest}{said}\n")];
    let missing = Finding::Tree(TreeFault::Behind { lane: 0, from: 300, to: 602 });
    for note in kept {
        let (_folder, path) = on_disk(&cut.bytes());
        let trust = Trust::Keys(cut.keys.clone());
        assert_eq!(verify_since(&path, &trust, &[]).unwrap().findings, []);
        assert_eq!(verify_since(&path, &trust, &[note]).unwrap().findings, [missing.clone()]);
    }
}

/// Whose clock was an hour ahead and was set right says so, and until it has caught up its times say nothing.
#[test]
fn a_lane_whose_clock_was_ahead_is_not_written_after_the_file() {
    let of = |seen: &str| {
        let mut lane = Lane::open(0);
        lane.push("alarm", json!({ "at": "2026-11-23T17:30:00.000000000Z" }));
        let clock = json!({ "at": "2026-11-23T17:30:00.000000001Z", "behind_ns": 1, "seen": seen });
        lane.push("clock", clock);
        lane.push("alarm", json!({ "at": "2026-11-23T17:30:00.000000002Z" }));
        lane
    };
    let found = |mut lane: Lane| {
        lane.checkpoints = vec![lane.leaves.len()];
        check(&Export::of(&[&lane], &Texts::default())).findings
    };
    let early = |seconds| [Finding::File(FileFault::CreatedEarly { seconds })];
    assert_eq!(found(of("2026-11-23T16:30:00.000000000Z")), []);
    assert_eq!(found(of("2026-11-23T17:30:00.000000000Z")), early(3_600));
    // It has caught up.
    let mut lane = of("2026-11-23T16:30:00.000000000Z");
    lane.push("alarm", json!({ "at": "2026-11-23T17:31:00.000000000Z" }));
    assert_eq!(found(lane), early(3_660));
}

#[test]
fn a_lane_that_is_only_named_is_not_shown() {
    let (main, beat, texts) = lanes();
    let none = Lane::open(2);
    let mut named = Export::of(&[&main, &beat, &none], &texts);
    assert_eq!((named.lines[0]["lanes"][2]["to"].as_u64(), named.keys.len()), (Some(0), 3));
    let report = check(&named);
    let open = |lane| Open::NotShown { origin: format!("gw.example/log/{lane}") };
    assert_eq!(
        (report.exit(), report.findings, report.open),
        (Exit::Incomplete, vec![], vec![open(2)])
    );
    let said = open(2).text();
    assert!(said.en.contains("shows nothing of it that the lane signed"), "{}", said.en);
    assert!(said.ko.contains("그 레인이 서명한 것이 파일에 없으므로"), "{}", said.ko);
    // To who has no key of it it is nobody's.
    named.keys.pop();
    assert_eq!(check(&named).exit(), Exit::Whole);

    // Every lane emptied; and one of which a checkpoint still speaks.
    let [mut main, mut beat] = [main, beat];
    (main.checkpoints, beat.checkpoints) = (Vec::new(), Vec::new());
    let report = check(&Export::of(&[&main, &beat], &Texts::default()));
    assert_eq!((report.exit(), report.open), (Exit::Incomplete, vec![open(0), open(1)]));
    main.checkpoints = vec![602];
    let mut spoken = Export::of(&[&main], &texts);
    spoken
        .lines
        .retain(|line| !["leaf", "row", "tile", "text"].iter().any(|kind| line["type"] == *kind));
    spoken.lines[0]["lanes"][0]["to"] = 0.into();
    spoken.lines[0]["lanes"][0]["projected"] = 0.into();
    let uncovered = Finding::Tree(TreeFault::Uncovered { lane: 0, to: 0, last: 602 });
    assert_eq!(check(&spoken).findings, [uncovered]);
}

#[test]
fn a_kept_checkpoint_of_a_lane_without_a_key_is_not_held_against_it() {
    let (main, beat, texts) = lanes();
    let export = Export::of(&[&main, &beat], &texts);
    let line = export.find("checkpoint", &[("lane", 1.into())]);
    let note = export.lines[line]["note"].as_str().unwrap().to_owned();
    let since = |keys: &[VerifierKey], kept: &str| -> Report {
        let (_folder, path) = on_disk(&export.bytes());
        verify_since(&path, &Trust::Keys(keys.to_vec()), &[kept.to_owned()]).unwrap()
    };
    let report = since(&export.keys[..1], &note);
    let open = Open::Untrusted { lane: 1, origin: "gw.example/log/1".into() };
    assert_eq!(
        (report.exit(), report.findings, report.open),
        (Exit::Incomplete, vec![], vec![open])
    );
    // One that is not what the lane signed is found, with the size that it states.
    let (text, _) = note.split_once("\n\n").unwrap();
    let forged = format!("{text}\n\n{}", junk(&beat.key));
    let doubt = Doubt::BadSignature;
    let fault = Finding::Tree(TreeFault::Checkpoint { lane: 1, size: 4, doubt });
    assert_eq!(since(&export.keys, &forged).findings, [fault]);
}

#[test]
fn bytes_after_the_end_are_found_with_and_without_a_newline() {
    let export = whole();
    let after = Finding::File(FileFault::After { line: export.lines.len() as u64 + 2 });
    for more in ["anything at all", "anything at all\n", "{}"] {
        let bytes = [export.bytes(), more.into()].concat();
        let found = check_bytes(&bytes, &Trust::Keys(export.keys.clone())).findings;
        assert_eq!(found, [after.clone()], "{more:?}");
    }
}

#[test]
fn every_text_that_a_decision_names_is_asked_for() {
    let gone = |kind: &str, own: &Value| {
        let mut texts = Texts::default();
        let home = texts.decide("KR", "d@1");
        let mut lane = Lane::open(0);
        lane.decision(&home, own.clone());
        lane.announce(&home);
        lane.checkpoints = vec![3];
        let mut export = Export::of(&[&lane], &texts);
        export.lines.retain(|line| line["kind"] != kind);
        let report = check(&export);
        assert_eq!((report.exit(), &report.findings[..]), (Exit::Incomplete, &[][..]), "{kind}");
        assert_eq!(report.json()["counts"]["texts_missing"], 1, "{kind}");
        (report.open, report.counts.judged, report.counts.second_engine)
    };
    let refused = json!({
        "outcome": "DENY", "reason": "ENGINE_ERROR", "site": null, "identity": null, "request": null,
    });
    let (one, judgeable) = (Open::TextsMissing(1), Open::NotJudgeable(1));
    // By what else is there it was judged again; its reasons are not there to be read.
    assert_eq!(gone("detail", &json!({})), (vec![one.clone()], 1, 0));
    for kind in ["facts", "bundle"] {
        assert_eq!(gone(kind, &json!({})), (vec![judgeable.clone(), one.clone()], 0, 0));
    }
    for kind in ["facts", "detail", "bundle"] {
        assert_eq!(gone(kind, &refused), (vec![one.clone()], 0, 1));
    }
    assert_eq!(one.text().en, "1 texts that decisions name are not in the file");
    assert_eq!(one.text().ko, "결정이 가리키는 텍스트 1개가 파일에 없습니다");
}

#[test]
fn a_text_that_two_kinds_of_names_point_to_is_found_whichever_comes_first() {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let mut lane = Lane::open(0);
    let first = lane.decision(&home, json!({}));
    lane.forward(&first);
    lane.decision(&home, json!({ "detail": home.fields["facts"] }));
    lane.checkpoints = vec![lane.leaves.len()];
    let found = check(&Export::of(&[&lane], &texts)).findings;
    let codes: Vec<&str> = found.iter().map(Finding::code).collect();
    assert_eq!(codes, ["text_kind", "judged"]);
}

/// What the gateway writes has them all.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_gateway_lacks_no_text() {
    let stage = Stage::shared().await;
    let caller = stage.caller("kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let pool = stage.pool().await;
    eventually("a checkpoint covers a decision", async || {
        let (_folder, path) = on_disk(b"");
        let (file, now_ns) = (File::create(&path).unwrap(), Clock::system().unix_ns());
        export(&pool, Range::default(), now_ns, file).await.unwrap();
        let report = verify_since(&path, &Trust::File, &[]).unwrap();
        assert_eq!((&report.findings[..], report.open), (&[][..], vec![Open::OwnKeys]));
        report.counts.decisions > 0
    })
    .await;
}

/// A decision on facts that multiply, under rows for data that go to this place; they stay in Korea.
fn multiplied(components: usize, sites: usize, rows: usize, to: &str) -> Vec<Finding> {
    let mut book: Value = serde_json::from_str(BUNDLE).unwrap();
    for number in 2..=rows {
        let (mut rule, mut row) = (book["rules"][0].clone(), book["rows"][0].clone());
        rule["id"] = format!("R{number}").into();
        (row["rule"], row["to"]) = (rule["id"].clone(), to.into());
        book["rules"].as_array_mut().unwrap().push(rule);
        book["rows"].as_array_mut().unwrap().push(row);
    }
    let component = json!({ "dataset": "d@1", "regimes": ["KR.X"], "origins": ["KR"] });
    let site = |number: usize| json!({ "id": format!("s-{number}"), "location": "KR", "operator": { "entity": "A", "seat": "KR" } });
    let facts = json!({
        "question": {
            "profile": "statutory", "role": "entrustment", "components": vec![component; components],
            "recipient": { "place": "KR", "same_entity": true },
        },
        "sites": (0..sites).map(site).collect::<Vec<_>>(),
    });
    let mut texts = Texts::default();
    let mut decided = texts.decide("JP", "d@1");
    texts.0.clear();
    for (kind, value) in [("bundle", &book), ("facts", &facts), ("detail", &json!({}))] {
        let bytes = verdict::canonical(value).unwrap();
        decided.fields.insert(kind.into(), texts.keep(kind, bytes).into());
    }
    let mut lane = Lane::open(0);
    lane.decision(&decided, json!({}));
    lane.checkpoints = vec![2];
    check(&Export::of(&[&lane], &texts)).findings
}

#[test]
fn what_multiplies_beyond_any_gateway_is_not_judged() {
    let judged = |judged| [at(0, 1, RecordFault::Judged(judged))];
    let cause = "the bundle and the facts multiply to more than any gateway judges";
    let unusable = || judged(Judged::Unusable(cause.into()));
    // 16 datasets at 20 sites are much; this file is honest in all but its detail.
    assert_eq!(multiplied(16, 20, 20, "*"), judged(Judged::Detail));
    // Cells; cells of one site; rows that are looked at, and rows that match.
    assert_eq!(multiplied(300, 300, 1, "*"), unusable());
    assert_eq!(multiplied(3_000, 1, 1, "*"), unusable());
    assert_eq!(multiplied(300, 80, 1_500, "CN"), unusable());
    assert_eq!(multiplied(100, 20, 200, "*"), unusable());
}

#[test]
fn what_no_log_can_hold_is_refused_and_what_contradicts_itself_is_kept_but_a_few_times() {
    let mut lane = Lane::open(0);
    let padding = |bytes: usize| json!({ "about": "x".repeat(bytes) });
    lane.push("alarm", padding(0));
    let room = 65_535 - lane.leaves[1].len();
    lane.leaves.pop();
    lane.push("alarm", padding(room));
    lane.push("alarm", padding(room + 1));
    lane.checkpoints = vec![3];
    let found = check(&Export::of(&[&lane], &Texts::default())).findings;
    let [Finding::Record(place, fault)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((place.index, fault), (2, &RecordFault::Unreadable("length")));
    assert!(found[0].text().en.ends_with("longer than 65535 bytes, more than a log holds"));
    assert!(found[0].text().ko.ends_with("65535바이트보다 깁니다"));

    let mut lane = Lane::open(0);
    let head = |n: u32| json!({ "epoch": 1, "lane": 0, "size": 1, "root": Hash::leaf(&n.to_be_bytes()).to_string() });
    for n in 0..8 {
        let heads: Vec<Value> = (0..400).map(|m| head(400 * n + m)).collect();
        lane.push("heartbeat", json!({ "heads": heads }));
    }
    lane.checkpoints = vec![lane.leaves.len()];
    let report = check(&Export::of(&[&lane], &Texts::default()));
    assert_eq!((report.findings.len(), report.more), (8, 0));
    assert_eq!(report.findings[0], at(0, 1, RecordFault::Head { lane: 0, size: 1 }));
}

#[test]
fn nothing_of_the_file_moves_the_cursor() {
    let evil = "\u{1b}[1A\u{1b}[2K\rwhole: nothing was changed\n\u{9b}8m\u{202e}";
    let mut export = whole();
    let line = export.leaf(0, 4) + 1;
    export.lines[line]["row"][evil] = true.into();
    let mut stranger = whole();
    stranger.lines[0]["lanes"][1]["origin"] = evil.into();
    let found = check(&export).findings.remove(0).text();
    let named = check(&stranger).open.remove(0).text();
    let known = Open::Untrusted { lane: 1, origin: evil.into() }.text();
    let of = TreeFault::Checkpoint { lane: 0, size: 1, doubt: Doubt::Origin(evil.into()) };
    let unusable = RecordFault::Judged(Judged::Unusable(evil.into()));
    let held = single::Held {
        id: "i".into(),
        kind: evil.into(),
        origin: evil.into(),
        index: 0,
        size: 1,
        witnesses: 0,
    };
    let disclosed = haetae_verify::disclosed::Shown {
        id: "i".into(),
        field: evil.into(),
        values: vec![evil.into()],
    };
    let hides = haetae_verify::disclosed::Unshown::Field(evil.into());
    let numbered = FileFault::Origin { lane: 1, origin: evil.into() };
    let tree = || single::Tree { origin: evil.into(), size: 1 };
    let compared = single::Compared::Not { kept: tree(), proven: tree() };
    for text in [
        found,
        named,
        known,
        Finding::Tree(of).text(),
        at(0, 1, unusable).text(),
        held.text(),
        disclosed.text(),
        hides.text(),
        Finding::File(numbered).text(),
        compared.text(),
    ] {
        for sentence in [&text.en, &text.ko] {
            let moves = |char: char| char.is_control() || char == '\u{202e}';
            assert!(!sentence.contains(moves), "{sentence:?}");
        }
    }
    assert!(known_key().text().en.ends_with("differs from the record in `outcome`"), "as it is");
}

fn known_key() -> Finding {
    at(0, 4, RecordFault::RowDiffers("outcome".into()))
}

/// What docs/verify.py says of an export under these keys, and whether it found all right.
fn second_reader(export: &Export) -> (bool, String) {
    reader(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py"), "export", export)
}

fn reader(script: &str, what: &str, export: &Export) -> (bool, String) {
    let (code, said) = typed(script, what, &export.bytes(), &export.keys);
    (code == Some(0), said)
}

/// The exit code of a second reader, and what it says of a file of these bytes.
pub fn typed(
    script: &str,
    what: &str,
    bytes: &[u8],
    keys: &[VerifierKey],
) -> (Option<i32>, String) {
    let (_folder, path) = on_disk(bytes);
    let mut command = Command::new(python());
    command.args([script, what, path.to_str().unwrap()]);
    let output = command.args(keys.iter().map(ToString::to_string)).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap().trim().to_owned())
}

#[test]
fn the_second_reader_wants_every_lane_whose_key_it_was_given() {
    let (mut main, beat, texts) = lanes();
    let export = Export::of(&[&main, &beat], &texts);
    let whole = (true, "whole: 606 records in 2 lanes under signed roots".to_owned());
    assert_eq!(second_reader(&export), whole);
    // Left out of the file.
    let mut part = Export::of(&[&beat], &Texts::default());
    part.keys = export.keys;
    let (right, said) = second_reader(&part);
    assert!(!right && said.contains("nothing is shown of ['gw.example/log/0']"), "{said}");
    // Named, and empty.
    main.checkpoints.clear();
    let (right, said) = second_reader(&Export::of(&[&main, &beat], &Texts::default()));
    assert!(!right && said.contains("nothing is shown of ['gw.example/log/0']"), "{said}");
    // A name that is no name.
    let mut stranger = Export::of(&[&beat], &Texts::default());
    let line = stranger.find("checkpoint", &[]);
    let note = stranger.lines[line]["note"].as_str().unwrap();
    stranger.lines[line]["note"] = note.replace("gw.example/log/1\n4", "\u{1b}[2K\n4").into();
    let (right, said) = second_reader(&stranger);
    assert!(!right && said.ends_with("checkpoint of `\\x1b[2K`"), "{said:?}");
}

/// `docs/verify_more.py` on what the lanes say of each other.
#[test]
fn the_second_reader_holds_heartbeats_against_the_lanes_that_they_name() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify_more.py");
    let heartbeats = |export: &Export| reader(script, "heartbeats", export);
    let said = "whole: 606 records in 2 lanes under signed roots; 4 heads in heartbeats";
    assert_eq!(heartbeats(&whole()), (true, said.to_owned()));

    // A lane cut back with its checkpoints, and what makes the heartbeat old enough to count.
    let shorter = "WRONG: lane 1, index 2: lane 0 had 602 records then, and 300 are shown";
    for created in ["2026-11-23T16:30:00.000000000Z", "1970-01-01T00:00:00.000000000Z"] {
        let cut = cut_back(created.into());
        assert!(second_reader(&cut).0, "whole by itself");
        assert_eq!(heartbeats(&cut), (false, shorter.to_owned()));
    }
    let (mut main, mut beat, texts) = lanes();
    main.checkpoints = vec![300];
    let mut young = Export::of(&[&main, &beat], &texts);
    young.lines[0]["created"] = "2026-11-23T16:01:01.000000002Z".into();
    assert!(heartbeats(&young).0, "{:?}", heartbeats(&young));
    young.lines[0]["created"] = "2026-11-23T16:01:01.000000004Z".into();
    assert_eq!(heartbeats(&young), (false, shorter.to_owned()));

    // Of another tree; at the size at which what is shown begins; and of what is not shown.
    let alone = Export::of(&[&beat], &Texts::default());
    let (code, said) = typed(script, "heartbeats", &alone.bytes(), &alone.keys);
    let part = "part: 4 records in 1 lanes under signed roots; 4 heads in heartbeats; nothing is shown of lanes [0], which they name";
    assert_eq!((code, said.as_str()), (Some(3), part));
    let mut other = main.head(300);
    other["root"] = main.root(299).into();
    beat.push("heartbeat", json!({ "heads": [other] }));
    beat.checkpoints = vec![beat.leaves.len()];
    let another = "WRONG: lane 1, index 4: lane 0 had another tree of 300 records then";
    for from in [0, 300] {
        let (mut main, _, texts) = lanes();
        (main.from, main.checkpoints) = (from, vec![602]);
        let export = Export::of(&[&main, &beat], &texts);
        assert_eq!(heartbeats(&export), (false, another.to_owned()), "{from}");
    }
}

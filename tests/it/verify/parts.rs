//! What a file leaves out, names twice or adds where no signature speaks of it: it is said, by `haetae-verify` and by the second
//! reader (docs/verify.py), and nothing of it is called whole.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae_verify::{
    Finding, Report, Trust,
    finding::{FileFault, RecordFault, TreeFault},
    report::{Exit, Open, Shown},
    single::{self, Unproven},
    verify_since,
};
use serde_json::{Value, json};
use tlog::{Checkpoint, Hash, Receipt};

use super::export::{Export, Lane, Texts, on_disk};
use super::forged::typed;
use super::{at, check, lanes, whole};

const SECOND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py");

/// What docs/verify.py says of an export under these keys, and its exit code.
fn second(export: &Export) -> (Option<i32>, String) {
    typed(SECOND, "export", &export.bytes(), &export.keys)
}

fn since(export: &Export, kept: &[String]) -> Report {
    let (_folder, path) = on_disk(&export.bytes());
    verify_since(&path, &Trust::Keys(export.keys.clone()), kept).unwrap()
}

/// A lane of three records that had nine, and the generation after it that says so in its second record.
fn rolled_back() -> [Lane; 2] {
    let (mut lost, mut next) = (Lane::open(0), Lane::open(16));
    for lane in [&mut lost, &mut next] {
        if lane.number == 16 {
            let (root, cluster) = (Hash::leaf(b"as it was").to_string(), "1/1");
            let of = json!({ "of": 0, "size": 9, "found": 3, "root": root, "found_root": root, "cluster": cluster });
            lane.push("rollback", of);
        }
        while lane.leaves.len() < 3 {
            lane.push("alarm", json!({ "about": "a test", "what": "test" }));
        }
        lane.checkpoints = vec![3];
    }
    [lost, next]
}

#[test]
fn a_loss_is_not_hidden_by_what_comes_after_it() {
    let [mut lost, mut next] = rolled_back();
    let whole = Export::of(&[&lost, &next], &Texts::default());
    let missing = Finding::Tree(TreeFault::Missing { lane: 0, from: 3, to: 9 });
    assert_eq!(check(&whole).findings, [missing]);

    (lost.from, next.from) = (2, 2);
    let part = Export::of(&[&lost, &next], &Texts::default());
    let report = check(&part);
    let later = |lane| Open::NotFromStart { lane, from: 2 };
    assert_eq!((report.exit(), &report.findings[..]), (Exit::Incomplete, &[][..]));
    assert_eq!(report.open, [later(0), later(16)]);
    let said = later(16).text();
    assert_eq!(
        said.en,
        "lane 16: the file begins at index 2, so what came before, a record of a loss included, was not checked"
    );
    assert!(said.ko.starts_with("레인 16: 파일이 인덱스 2에서 시작하므로"), "{}", said.ko);
    let ranges = report.ranges();
    assert_eq!(ranges.en, "shown: lane 0 from index 2 to 2; lane 16 from index 2 to 2");
    assert_eq!(ranges.ko, "제시된 범위: 레인 0 인덱스 2부터 2까지; 레인 16 인덱스 2부터 2까지");
    let json = report.json();
    assert_eq!(json["not_checked"][1]["code"], "lane_not_from_start");
    let of =
        json!({ "lane": 16, "origin": "gw.example/log/16", "from": 2, "to": 3, "signed": true });
    assert_eq!(json["lanes"][1], of);

    let (code, said) = second(&part);
    let before = "part: 2 records in 2 lanes under signed roots; not in the file: `gw.example/log/0` before index 2, `gw.example/log/16` before index 2";
    assert_eq!((code, said.as_str()), (Some(3), before));
}

/// The newest checkpoint and the subtrees under it, which lead to its root without one record.
#[test]
fn a_lane_without_a_record_is_not_whole_by_its_checkpoint() {
    let (mut main, ..) = lanes();
    (main.from, main.checkpoints) = (602, vec![602]);
    let none = Export::of(&[&main], &Texts::default());
    let note = none.lines[none.find("checkpoint", &[])]["note"].as_str().unwrap().to_owned();
    for kept in [vec![], vec![note]] {
        let report = since(&none, &kept);
        assert_eq!((report.exit(), report.counts.records), (Exit::Incomplete, 0));
        assert_eq!(
            (report.findings.len(), report.ranges().en.as_str()),
            (0, "shown: no record of lane 0")
        );
        assert_eq!(report.open, [Open::NotFromStart { lane: 0, from: 602 }]);
        let origin = "gw.example/log/0".to_owned();
        assert_eq!(report.shown, [Shown { lane: 0, origin, from: 602, to: 602, signed: true }]);
    }
    assert_eq!(second(&none), (Some(1), "WRONG: no signed end".to_owned()));

    main.from = 601;
    let (code, said) = second(&Export::of(&[&main], &Texts::default()));
    let one = "part: 1 records in 1 lanes under signed roots; not in the file: `gw.example/log/0` before index 601";
    assert_eq!((code, said.as_str()), (Some(3), one));
}

#[test]
fn a_range_that_begins_behind_its_end_is_found() {
    let (mut main, ..) = lanes();
    (main.from, main.checkpoints) = (602, vec![602]);
    let mut none = Export::of(&[&main], &Texts::default());
    none.lines[0]["lanes"][0]["from"] = 1023.into();
    let left = vec![Hash::leaf(b"anything").to_string(); 10];
    none.lines[0]["lanes"][0]["left"] = left.into();
    let range = Finding::Tree(TreeFault::Range { lane: 0, from: 1023, to: 602 });
    assert_eq!(check(&none).findings, [range.clone()]);
    assert_eq!(range.json()["code"], "lane_range");
    let said = range.text();
    assert!(said.en.ends_with("at index 1023 and ends before index 602, which is no range"));
    assert!(said.ko.ends_with("올바른 범위가 아닙니다"), "{}", said.ko);
}

/// What anybody can write into the header of a lane, with nothing behind it.
fn phantom(lane: u16, origin: &str, size: u64) -> Value {
    let left = vec![Hash::leaf(b"anything").to_string(); size.count_ones() as usize];
    json!({ "lane": lane, "origin": origin, "from": size, "to": size, "projected": size, "left": left })
}

fn with_phantom(export: &mut Export, phantom: Value) {
    export.lines[0]["lanes"].as_array_mut().unwrap().insert(0, phantom);
}

#[test]
fn a_second_lane_of_one_name_does_not_take_the_place_of_the_first() {
    let (_, mut beat, _) = lanes();
    let note = |export: &Export| {
        export.lines[export.find("checkpoint", &[])]["note"].as_str().unwrap().to_owned()
    };
    let kept = note(&Export::of(&[&beat], &Texts::default()));
    beat.checkpoints = vec![3];
    let mut cut = Export::of(&[&beat], &Texts::default());
    let missing = Finding::Tree(TreeFault::Behind { lane: 1, from: 3, to: 4 });
    assert_eq!(since(&cut, &[kept.clone()]).findings, [missing]);
    with_phantom(&mut cut, phantom(0, "gw.example/log/1", 1 << 20));
    let named = FileFault::Origin { lane: 0, origin: "gw.example/log/1".into() };
    let named = Finding::File(named);
    assert_eq!(since(&cut, &[kept]).findings, [named.clone()]);
    assert_eq!(named.json()["code"], "file_lane");
    assert_eq!(
        named.text().en,
        "the header names lane 0 `gw.example/log/1`, which does not end in its number"
    );
    assert!(named.text().ko.ends_with("그 번호로 끝나지 않습니다"), "{}", named.text().ko);
    let twice = "WRONG: a lane is named twice, or by the number of another".to_owned();
    assert_eq!(second(&cut), (Some(1), twice.clone()));

    // One number twice: the second reader would go by the last.
    let mut doubled = whole();
    let mut lane = doubled.lines[0]["lanes"][1].clone();
    lane["to"] = 3.into();
    with_phantom(&mut doubled, lane);
    let found = check(&doubled).findings;
    assert_eq!(found[0], Finding::File(FileFault::Lane { line: 1, lane: 1 }));
    assert_eq!(second(&doubled), (Some(1), twice));
}

#[test]
fn a_lane_that_the_header_only_names_is_not_shown_to_who_saw_it_in_a_heartbeat() {
    let (_, beat, _) = lanes();
    let shown = |phantom| {
        let mut export = Export::of(&[&beat], &Texts::default());
        // So near that a lane which is shorter than it was is no finding yet.
        export.lines[0]["created"] = "2026-11-23T16:00:20.000000000Z".into();
        if let Some(phantom) = phantom {
            with_phantom(&mut export, phantom);
        }
        let report = check(&export);
        assert_eq!((report.exit(), report.findings), (Exit::Incomplete, vec![]));
        report.open
    };
    let not_shown = Open::LaneNotShown { lane: 0 };
    let origin = "gw.example/log/0";
    assert_eq!(shown(None), [not_shown.clone()]);
    assert_eq!(shown(Some(phantom(0, origin, 0))), [not_shown.clone()]);
    let later = Open::NotFromStart { lane: 0, from: 1 << 20 };
    assert_eq!(shown(Some(phantom(0, origin, 1 << 20))), [later, not_shown]);
}

/// A signed leaf of these bytes, in an export and in a proof.
fn signed(leaf: &str) -> (Export, String) {
    let mut lane = Lane::open(0);
    lane.leaves = vec![lane.leaves[0].clone(), leaf.as_bytes().to_vec()];
    lane.checkpoints = vec![2];
    let export = Export::of(&[&lane], &Texts::default());
    let checkpoint = export.lines[export.find("checkpoint", &[])]["note"].as_str().unwrap();
    let (extra, proof) = (Some(leaf.as_bytes().to_vec()), vec![Hash::leaf(&lane.leaves[0])]);
    let receipt = Receipt { extra, index: 1, proof, checkpoint: checkpoint.to_owned() };
    (export, receipt.to_string())
}

/// Whoever has the key can sign bytes in which two readers read two things.
#[test]
fn a_signed_record_that_is_not_canonical_is_found_in_a_file_and_in_a_proof() {
    let mut lane = Lane::open(0);
    lane.push("alarm", json!({ "x": "here" }));
    let plain = String::from_utf8(lane.leaves[1].clone()).unwrap();
    let with = |value: &str| plain.replace("\"here\"", value);
    let good = [plain.clone(), with("9007199254740991"), with("[true,{\"a\":\"\\u001f한\"}]")];
    for leaf in good {
        let (export, proof) = signed(&leaf);
        assert_eq!(check(&export).findings, [], "{leaf}");
        assert_eq!(second(&export).0, Some(0), "{leaf}: {}", second(&export).1);
        assert!(single::check(&proof, &Trust::Keys(export.keys.clone())).is_ok(), "{leaf}");
        let (code, said) = typed(SECOND, "proof", proof.as_bytes(), &export.keys);
        assert_eq!(code, Some(0), "{leaf}: {said}");
    }
    for leaf in [
        plain.replace("\"x\":", "\"x\":\"there\",\"x\":"),
        plain.replace(":1,", ": 1,"),
        plain.replace("{\"at\"", "{\"b\":1,\"at\""),
        with("null"),
        with("false"),
        with("-1"),
        with("1.0"),
        with("1e3"),
        with("9007199254740992"),
        with("[[null]]"),
        with("{\"한\":1}"),
        with("\"\\u0041\""),
    ] {
        assert_ne!(leaf, plain);
        let (export, proof) = signed(&leaf);
        assert_eq!(check(&export).findings, [at(0, 1, RecordFault::NotCanonical)], "{leaf}");
        let trust = Trust::Keys(export.keys.clone());
        assert_eq!(single::check(&proof, &trust), Err(Unproven::NotCanonical), "{leaf}");
        let wrong = (Some(1), "WRONG: not in canonical form".to_owned());
        assert_eq!(second(&export), wrong, "{leaf}");
        assert_eq!(typed(SECOND, "proof", proof.as_bytes(), &export.keys), wrong, "{leaf}");
    }
    assert_eq!(Unproven::NotCanonical.code(), "not_canonical");
    assert!(Unproven::NotCanonical.text().en.contains("not in canonical form"));
    assert!(Unproven::NotCanonical.text().ko.contains("정규 형식이 아니므로"));
}

/// The second reader on lines that are not what docs/record.md says, under a last line that fits.
#[test]
fn the_second_reader_wants_every_line_as_the_format_says() {
    let wrong = |change: &dyn Fn(&mut Export)| {
        let mut export = whole();
        change(&mut export);
        let (code, said) = second(&export);
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let leaf = |export: &Export| export.leaf(0, 5);
    let place = "WRONG: lane 0, index";
    let moved = |index| format!("{place} {index}: missing, moved, or of another version");
    let index = |export: &mut Export| {
        let line = leaf(export);
        export.lines[line]["index"] = 7.into();
    };
    assert_eq!(wrong(&index), moved(7));
    for mark in [[0_u8; 8].as_slice(), &[]] {
        let mark = |export: &mut Export| {
            let line = leaf(export);
            export.lines[line]["mark"] = STANDARD.encode(mark).into();
        };
        assert_eq!(wrong(&mark), format!("{place} 5: edited, here or before"));
    }
    let out = "WRONG: a line out of place";
    let another = json!({ "type": "header", "format": "haetae-export", "v": 1, "lanes": [] });
    for line in [json!({ "type": "something" }), another] {
        assert_eq!(wrong(&|export| export.lines.insert(3, line.clone())), out);
        assert_eq!(wrong(&|export| export.lines.insert(0, line.clone())), out);
    }
    for (key, value) in [("v", json!(2)), ("format", json!("other-export"))] {
        let later = wrong(&|export| export.lines[0][key] = value.clone());
        assert_eq!(later, "WRONG: no export of version 1");
    }
    // Python's error for it has no words of its own.
    let forged = |export: &mut Export| {
        let line = export.find("checkpoint", &[("lane", 0.into()), ("size", 602.into())]);
        let note = export.lines[line]["note"].as_str().unwrap().to_owned();
        let at = note.trim_end().len() - 20;
        let other = if note[at..].starts_with('A') { "B" } else { "A" };
        export.lines[line]["note"] = [&note[..at], other, &note[at + 1..]].concat().into();
    };
    assert_eq!(wrong(&forged), "WRONG: a signature does not fit what it is under");
    // Two trees of one size, both signed: the second in the place of the first.
    let fork = |export: &mut Export| {
        let line = export.find("checkpoint", &[("lane", 0.into()), ("size", 602.into())]);
        let (lane, mut other) = (Lane::open(0), export.lines[line].clone());
        let checkpoint = Checkpoint::new("gw.example/log/0".into(), 602, Hash::leaf(b"fork"));
        other["note"] = checkpoint.sign(&lane.key).unwrap().to_string().into();
        export.lines.insert(line, other);
    };
    assert_eq!(wrong(&fork), "WRONG: a checkpoint out of place");

    // Around the last line.
    let export = whole();
    let bytes = export.bytes();
    let of = |bytes: &[u8]| typed(SECOND, "export", bytes, &export.keys);
    let body = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let end = String::from_utf8(bytes[body..].to_vec()).unwrap();
    let changed = |text: &str| {
        let (code, said) = of(&[&bytes[..body], text.as_bytes()].concat());
        assert_eq!(code, Some(1), "{text}");
        said
    };
    assert_eq!(of(&bytes).0, Some(0));
    let another = "{\"anything\":1,\"type\":\"end\"}\n";
    assert_eq!(changed(&format!("{end}{another}")), "WRONG: the file was changed");
    assert_eq!(changed(&format!("{end}{end}")), "WRONG: the file was changed");
    assert_eq!(changed(&format!("{another}{end}")), "WRONG: it cannot be read: KeyError 'lines'");
    assert_eq!(changed(&end.replace("\"lines\":", "\"lines\":1")), "WRONG: the file was changed");
    assert_eq!(changed(end.trim_end()), "WRONG: not in canonical form");
    assert_eq!(changed(""), "WRONG: the file was cut");
}

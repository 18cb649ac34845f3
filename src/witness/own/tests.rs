//! Records and checkpoint outlive the process; half a record does not, and a record that was signed and is gone stops it.

use haetae_verify::{Follower, Piece, Report, Texts, export::Digest};
use tlog::key::Kind;

use super::*;

struct Nothing;

impl Texts for Nothing {
    fn has(&self, _: &Digest) -> bool {
        false
    }

    fn text(&self, _: &Digest) -> Option<Vec<u8>> {
        None
    }
}

impl haetae_verify::Beside for Nothing {
    fn root(&self, _: u16, _: u64) -> Option<Hash> {
        None
    }
}

const NOW: i64 = 1_795_000_000_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap()
}

fn open(dir: &Path) -> Result<Own, WitnessError> {
    Own::open(&dir.join("state"), &dir.join("key"), &key(), Clock::fixed(NOW))
}

fn refused(dir: &Path) -> String {
    open(dir).err().unwrap().to_string()
}

fn checkpoint(own: &Own) -> Checkpoint {
    let note = String::from_utf8(own.get("checkpoint").unwrap().0).unwrap();
    let note: Note = note.parse().unwrap();
    note.verify([&own.vkey().parse().unwrap()]).unwrap();
    note.text().parse().unwrap()
}

/// What a verifier says of all its records, of less than two bundles.
fn report(own: &Own, lane: u16) -> Report {
    let checkpoint = checkpoint(own);
    let (mut leaves, mut hashes) = (Vec::new(), Vec::new());
    let bundles = [(0, checkpoint.size.min(256)), (1, checkpoint.size.saturating_sub(256))];
    for (index, width) in bundles.into_iter().filter(|(_, width)| *width > 0) {
        let n = if width == 256 { format!("{index:03}") } else { format!("{index:03}.p/{width}") };
        let bytes = own.get(&format!("tile/entries/{n}")).unwrap().0;
        leaves.extend(bundle::leaves(&bytes).map(|leaf| leaf.unwrap().to_vec()));
        hashes.extend(Hash::many(&own.get(&format!("tile/0/{n}")).unwrap().0).unwrap());
    }
    let mut follower = Follower::new("witness.example/1/log", None);
    let root = checkpoint.root;
    let piece = Piece { lane, leaves: &leaves, hashes: &hashes, root, now_ns: NOW };
    let report = follower.follow(&piece, &Nothing);
    assert_eq!(follower.size(lane), checkpoint.size);
    report
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in ["entries", "checkpoint"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

fn alarm(own: &Own, n: u64) {
    let Value::Object(keys) = json!({ "what": "fork", "about": format!("number {n}") }) else {
        return;
    };
    own.append("alarm", keys).unwrap();
}

#[test]
fn it_is_a_log_that_the_verifier_finds_whole() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..3 {
        let own = open(dir.path()).unwrap();
        (0..150).for_each(|n| alarm(&own, start * 1_000 + n));
    }
    let own = open(dir.path()).unwrap();
    assert_eq!((own.size(), &*own.prefix()), (454, "/1/log/0/"));
    let hashes = Hash::many(&own.get("tile/0/000").unwrap().0).unwrap();
    assert_eq!(own.get("tile/1/000.p/1").unwrap().0, tlog::tile::root(&hashes).0);
    for none in ["tile/0/001", "tile/0/001.p/199", "tile/1/000.p/2", "tile/entries/001", "x"] {
        assert_eq!(own.get(none), None, "{none}");
    }
    assert!(report(&own, 0).findings.is_empty());
}

#[test]
fn half_a_record_is_cut_off_and_a_lost_one_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let own = open(dir.path()).unwrap();
    alarm(&own, 1);
    drop(own);
    let log = dir.path().join("state/log");
    let (path, note, beside) =
        (log.join("entries"), log.join("checkpoint"), dir.path().join("key.signed"));
    let [whole, signed] = [&path, &note].map(|path| std::fs::read(path).unwrap());
    assert_eq!(std::fs::read(&beside).unwrap(), signed);
    for cut in [&[0, 99, b'{'][..], &[0; 40], &[0, 2, b'{', b'}']] {
        std::fs::write(&path, [&whole[..], cut].concat()).unwrap();
        let again = open(dir.path()).unwrap();
        assert_eq!(again.size(), 3);
        std::fs::write(&path, &whole).unwrap();
        for path in [&note, &beside] {
            std::fs::write(path, &signed).unwrap();
        }
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = refused(dir.path());
    assert!(error.contains("lacks records that it signed"), "{error}");
    // Nothing of it was cut off meanwhile.
    assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() - 1);
}

#[test]
fn a_state_that_is_older_than_what_lies_beside_the_key_is_not_signed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (log, older) = (dir.path().join("state/log"), dir.path().join("older"));
    let own = open(dir.path()).unwrap();
    alarm(&own, 1);
    copy(&log, &older);
    (2..5).for_each(|n| alarm(&own, n));
    let (vkey, newest) = (own.vkey(), checkpoint(&own));
    drop(own);
    let newer = dir.path().join("newer");
    std::fs::rename(&log, &newer).unwrap();
    let error = refused(dir.path());
    assert!(error.contains("0 are there, and 5 were signed"), "{error}");
    copy(&older, &log);
    let error = refused(dir.path());
    assert!(error.contains("2 are there, and 5 were signed"), "{error}");
    assert!(error.contains("state/log-16`: the witness goes on there"), "{error}");
    // The checkpoint of the state alone tells nothing of it.
    std::fs::remove_file(log.join("checkpoint")).unwrap();
    assert!(refused(dir.path()).contains("2 are there, and 5 were signed"));
    copy(&newer, &log);
    let again = open(dir.path()).unwrap();
    assert_eq!((again.size(), again.vkey()), (6, vkey));
    assert!(again.lock().leads_to(&newest));
    drop(again);
    // A note of another key, which had its place before, is none of ours; one that nobody can read is not passed over.
    let beside = dir.path().join("key.signed");
    let other = SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[8; 32]).unwrap();
    drop(
        Own::open(&dir.path().join("other"), &dir.path().join("key"), &other, Clock::fixed(NOW))
            .unwrap(),
    );
    assert_eq!(open(dir.path()).unwrap().size(), 7);
    std::fs::write(&beside, "nonsense").unwrap();
    assert!(refused(dir.path()).contains("it is not a note"));
}

#[test]
fn where_records_are_gone_another_lane_goes_on_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (log, older) = (state.join("log"), dir.path().join("older"));
    let own = open(dir.path()).unwrap();
    alarm(&own, 1);
    copy(&log, &older);
    alarm(&own, 2);
    let vkey = own.vkey();
    drop(own);
    let next = state.join("log-16");
    std::fs::create_dir(&next).unwrap();
    copy(&older, &log);
    drop(open(dir.path()).unwrap());
    let own = open(dir.path()).unwrap();
    assert_eq!((own.size(), &*own.prefix()), (3, "/1/log/16/"));
    assert_ne!(own.vkey(), vkey);
    assert_eq!(checkpoint(&own).origin, "witness.example/1/log/16");
    let found = report(&own, 16).findings;
    assert_eq!(found.len(), 1);
    assert!(format!("{found:?}").contains("Missing { lane: 0, from: 2, to: 3 }"), "{found:?}");
    drop(own);
    // It is the one that is missed now, whatever there is of the one before.
    std::fs::remove_dir_all(&next).unwrap();
    let error = refused(dir.path());
    assert!(error.contains("0 are there, and 3 were signed"), "{error}");
    assert!(error.contains("state/log-32`"), "{error}");
    std::fs::create_dir(state.join("log-32")).unwrap();
    let own = open(dir.path()).unwrap();
    assert!(
        format!("{:?}", report(&own, 32).findings).contains("Missing { lane: 16, from: 0, to: 3 }")
    );
}

/// Key and state came back from one backup, or the key alone: nothing is missed, and whoever knows says so.
#[test]
fn a_log_can_be_ended_of_which_nothing_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let ended = |lane: u16| {
        std::fs::create_dir_all(dir.path().join(format!("state/log-{lane}"))).unwrap();
        let own = open(dir.path()).unwrap();
        assert!(report(&own, lane).findings.is_empty());
        let bytes = own.get("tile/entries/000.p/2").unwrap().0;
        let leaf = bundle::leaves(&bytes).nth(1).unwrap().unwrap();
        let record: Value = serde_json::from_slice(leaf).unwrap();
        assert_eq!(record["what"], "own_log_ended", "{record}");
        drop(own);
        // Once.
        assert_eq!(open(dir.path()).unwrap().size(), 3);
        record["log"].as_str().unwrap().to_owned()
    };
    assert_eq!(ended(16), "witness.example/1/log/0");
    for gone in ["state", "key.signed"].map(|name| dir.path().join(name)) {
        std::fs::rename(&gone, gone.with_extension("gone")).unwrap();
    }
    assert_eq!(ended(32), "witness.example/1/log/32");
}

/// Until the first checkpoint of a lane, each start says again what the one before lost.
#[test]
fn what_was_lost_is_said_before_anything_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let beside = dir.path().join("key.signed");
    let ended = std::fs::read(&beside).unwrap();
    std::fs::remove_dir_all(dir.path().join("state/log")).unwrap();
    std::fs::create_dir(dir.path().join("state/log-16")).unwrap();
    drop(open(dir.path()).unwrap());
    // As if the process had ended after the records, and before the note.
    std::fs::remove_file(dir.path().join("state/log-16/checkpoint")).unwrap();
    std::fs::write(&beside, ended).unwrap();
    let own = open(dir.path()).unwrap();
    let bytes = own.get("tile/entries/000.p/4").unwrap().0;
    let kinds = bundle::leaves(&bytes).map(|leaf| {
        let record: Value = serde_json::from_slice(leaf.unwrap()).unwrap();
        record["kind"].as_str().unwrap().to_owned()
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["lane_open", "rollback", "lane_open", "rollback"]);
}

#[test]
fn what_cannot_be_remembered_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let own = open(dir.path()).unwrap();
    let (beside, seen) = (dir.path().join("key.signed"), checkpoint(&own));
    disk::faults::at(&[&beside]);
    alarm(&own, 1);
    assert_eq!((checkpoint(&own), own.size()), (seen, 2));
    disk::faults::at(&[]);
    alarm(&own, 2);
    assert_eq!(checkpoint(&own).size, 3);
    // Where it never was, keys may lie where nobody writes.
    std::fs::remove_file(&beside).unwrap();
    disk::faults::at(&[&beside]);
    alarm(&own, 3);
    disk::faults::at(&[]);
    assert_eq!(checkpoint(&own).size, 4);
}

/// A note that a killed process renamed and did not sync is no memory yet.
#[test]
fn what_was_signed_last_counts_when_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let notes = [dir.path().join("key.signed"), dir.path().join("state/log/checkpoint")];
    for note in &notes {
        disk::faults::each(note, || open(dir.path()).is_err());
    }
    assert_eq!(open(dir.path()).unwrap().size(), 2);
}

#[test]
fn nothing_is_written_behind_what_a_failed_disk_left() {
    let dir = tempfile::tempdir().unwrap();
    let entries = dir.path().join("state/log/entries");
    let own = open(dir.path()).unwrap();
    alarm(&own, 1);
    let (size, whole) = (own.size(), std::fs::metadata(&entries).unwrap().len());
    // It takes what is written, neither syncs it nor lets it be cut off.
    let no_disk = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    let on_disk = std::mem::replace(&mut own.lock().file, no_disk);
    let said = || object(json!({ "log": "log.example/0", "what": "fork", "about": "x" }));
    for _ in 0..2 {
        assert!(own.append("alarm", said()).is_err());
    }
    assert!(own.lock().is_spoilt);
    // Longer than the next record, and it looks like one.
    let left = [&[1, 0][..], &[b'{'; 600]].concat();
    on_disk.write_all_at(&left, whole).unwrap();
    own.lock().file = on_disk;
    alarm(&own, 2);
    assert_eq!((own.size(), checkpoint(&own).size), (size + 1, size + 1));
    assert_eq!(std::fs::metadata(&entries).unwrap().len(), own.lock().end());
    drop(own);
    let own = open(dir.path()).unwrap();
    assert_eq!(own.size(), size + 2);
    assert!(report(&own, 0).findings.is_empty());
}

#[test]
fn a_name_that_is_no_path_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str| {
        let key = SigningKey::from_seed(name, Kind::Cosignature, &[9; 32]).unwrap();
        let state = dir.path().join(hex::encode(name));
        Own::open(&state, &state.join("key"), &key, Clock::fixed(NOW))
    };
    for name in ["witness", "증인.example/1", "witness.example/a_b~c/(1):@,;=!$&'*"] {
        std::fs::create_dir(dir.path().join(hex::encode(name))).unwrap();
        assert!(named(name).is_ok(), "{name}");
    }
    for name in ["w.example/증인", "w/a?b", "w/a#b", "w/%41", "w/../1", "w/.", "w/a\"b"] {
        let error = named(name).err().unwrap().to_string();
        assert!(error.contains("under the path of its origin"), "{name}: {error}");
    }
}

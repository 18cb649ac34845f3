//! A replay says which recorded decisions would have been others, and which not; from a file and from the database, on any
//! number of threads; and what it cannot read whole it does not report on.

use std::path::Path;
use std::process::Command;

use haetae::audit::{Key, Records};
use haetae::cli::policy::replay::{from_database, from_file};
use haetae::policy::{Report, Span, Ways};
use tlog::Signer as _;
use verdict::Rulebook;
use verdict::decision::Outcome;
use verdict::rule::Book;

use super::export::{BUNDLE, on_disk};
use super::whole;
use crate::policy::command::{Tiny, run, said};
use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat};

const ALWAYS: Span = Span { since: 0, until: 4_000_000_000 };

fn book(change: impl Fn(&mut Book)) -> Rulebook {
    let mut book: Book = serde_json::from_str(BUNDLE).unwrap();
    change(&mut book);
    Rulebook::new(book).unwrap()
}

fn replayed(path: &Path, rules: &Rulebook, span: Span, threads: usize) -> (Ways, String) {
    let (ways, source) = from_file(rules, span, path, threads).unwrap();
    let report = Report { rulebook: rules, source: &source, span, ways: &ways }.to_string();
    (ways, report)
}

#[test]
fn under_the_same_rules_nothing_would_change() {
    let (_folder, path) = on_disk(&whole().bytes());
    let (ways, report) = replayed(&path, &book(|_| {}), ALWAYS, 2);
    assert_eq!((ways.decisions, ways.same, ways.changed()), (200, 200, 0));
    assert_eq!((ways.other_reason, ways.own_causes, ways.not_judgeable.count), (0, 0, 0));
    assert!(report.contains("would change: 0\n"), "{report}");
}

#[test]
fn what_would_change_is_counted_and_named_whatever_the_threads() {
    let (_folder, path) = on_disk(&whole().bytes());
    let open = book(|book| book.rows.clear());
    let (ways, report) = replayed(&path, &open, ALWAYS, 1);
    assert_eq!((ways.decisions, ways.same, ways.changed()), (200, 133, 67));
    let (change, group) = ways.changes.first_key_value().unwrap();
    assert_eq!((change.before.outcome, change.after.outcome), (Outcome::Deny, Outcome::Allow));
    assert_eq!(change.before.rule.as_deref(), Some("R1"));
    assert_eq!((group.count, group.ids.len()), (67, 20));
    assert!(report.contains("DENY -> ALLOW\n  before R1 DENIED_BY_RULE\n"), "{report}");
    assert!(report.contains("and 47 more"), "{report}");
    assert_eq!(replayed(&path, &open, ALWAYS, 4).1, report);

    let closed = book(|book| book.rows[0].to = "*".into());
    let (ways, _) = replayed(&path, &closed, ALWAYS, 2);
    let ways =
        ways.changes.iter().map(|(it, group)| (it.before.outcome, it.after.outcome, group.count));
    let ways: Vec<_> = ways.collect();
    assert_eq!(ways, [(Outcome::Allow, Outcome::Deny, 133)]);
}

#[test]
fn only_what_was_recorded_in_the_span_counts() {
    let (_folder, path) = on_disk(&whole().bytes());
    let rules = book(|_| {});
    let none = Span { since: 0, until: 1_000 };
    assert_eq!(replayed(&path, &rules, none, 2).0, Ways::default());
}

#[test]
fn a_file_that_is_not_whole_is_not_reported_on() {
    let bytes = whole().bytes();
    let rules = book(|_| {});
    let refused = |bytes: &[u8]| {
        let (_folder, path) = on_disk(bytes);
        format!("{:#}", from_file(&rules, ALWAYS, &path, 2).unwrap_err())
    };
    let cut = bytes.len() - 40;
    assert!(refused(&bytes[..cut]).contains("cut short"));
    assert!(refused(b"{}\n").contains("cut short"));
    // facts under another's digest
    let mut export = whole();
    let mut texts = export.lines.iter_mut().filter(|line| line["kind"] == "facts");
    let (one, other) = (texts.next().unwrap(), texts.next().unwrap());
    std::mem::swap(&mut one["bytes"], &mut other["bytes"]);
    assert!(refused(&export.bytes()).contains("does not have this digest"));
}

#[test]
fn a_report_is_signed_as_a_note() {
    let (_folder, path) = on_disk(&whole().bytes());
    let (_, report) = replayed(&path, &book(|book| book.rows.clear()), ALWAYS, 2);
    let signer = Key::generate().unwrap().named("gw.example/replay").unwrap();
    let note = tlog::Note::sign(report.clone(), &signer).unwrap().to_string();
    // read by another's implementation of the format
    let vkey = signer.verifier().to_string();
    let keys = signed_note::VerifierList::new(vec![Box::new(
        signed_note::StandardVerifier::new(&vkey).unwrap(),
    )]);
    let note = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    assert_eq!(note.text(), report.as_bytes());
    assert!(note.verify(&keys).is_ok());
}

/// As a person types it: judged under a bundle of a directory, counted, signed into a file; the same bytes again, and a note that
/// another implementation of the format verifies, and refuses when one digit of it is another.
#[test]
fn the_command_reports_signs_and_says_by_its_code_whether_anything_would_change() {
    let (folder, export) = on_disk(&whole().bytes());
    let (dir, tiny) = (folder.path(), Tiny::new());
    let keygen = ["keygen", "--origin", "gw.example/log", "--out", "replay.key"];
    let made = Command::new(env!("CARGO_BIN_EXE_haetae")).args(keygen).current_dir(dir).output();
    assert!(made.unwrap().status.success());
    let (key, out, tiny) = (dir.join("replay.key"), dir.join("replay.note"), tiny.path("tiny"));
    let (key, out, export) =
        (key.to_str().unwrap(), out.to_str().unwrap(), export.to_str().unwrap());
    let words =
        ["replay", &tiny, "--export", export, "--since", "1970-01-01", "--until", "2096-01-01"];
    let plain = run(&words);
    assert_eq!(plain.status.code(), Some(1), "{}", said(&plain.stderr));
    let report = said(&plain.stdout);
    assert!(
        report.contains("\ndecisions: 200\n") && !report.contains("would change: 0\n"),
        "{report}"
    );
    assert!(report.starts_with("Haetae replay, version 1\nunder tiny 1 sha256:"), "{report}");

    let signing = ["--key", key, "--name", "gw.example/replay", "--out", out];
    let signed = run(&[&words[..], &signing].concat());
    assert_eq!(signed.status.code(), Some(1), "{}", said(&signed.stderr));
    let stderr = said(&signed.stderr);
    let vkey = stderr.lines().find_map(|line| line.strip_prefix("signed; check it with ")).unwrap();
    let text = std::fs::read_to_string(out).unwrap();
    let verified = |text: &str| {
        let key = signed_note::StandardVerifier::new(vkey).unwrap();
        let keys = signed_note::VerifierList::new(vec![Box::new(key)]);
        let note = signed_note::Note::from_bytes(text.as_bytes()).unwrap();
        note.verify(&keys).is_ok().then(|| note.text().to_vec())
    };
    assert_eq!(verified(&text).unwrap(), report.as_bytes(), "the report that was printed, signed");
    assert!(verified(&text.replacen("decisions: 200", "decisions: 201", 1)).is_none());
    let unnamed = run(&[&words[..], &["--key", key]].concat());
    assert_eq!(unnamed.status.code(), Some(2), "a key without a name is a wrong command line");
}

/// What a gateway recorded in Postgres, judged again under the rules in force.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_replayed_too() {
    let stage = Stage::shared().await;
    let caller = stage.caller("kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let pool = stage.pool().await;
    let records = Records::since(&pool, 0).await.unwrap();
    let bundle = crate::policy::bundle().await;
    let replay = || from_database(bundle.rules(), ALWAYS, pool, records, 2);
    let (ways, source) = tokio::task::block_in_place(replay).unwrap();
    assert!(ways.decisions > 0);
    assert_eq!(ways.changed(), 0, "{ways:?}");
    assert!(source.iter().any(|line| line.starts_with("lane ")), "{source:?}");
}

//! What is shown to others is checked by others: proofs and bundles of evidence under a second implementation
//! (docs/verify.py), under `haetae-verify`'s code, and never after a change.

use std::path::Path;
use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::audit::{self, Ended, Range, export};
use haetae::clock::Clock;
use haetae_verify::{Trust, single};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::lab::{Lab, ORIGIN, eventually};
use crate::support::{fresh_database, python::python, scratch};

/// What docs/verify.py says, and whether it found all right.
fn second_reader(words: &[&str]) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py");
    let output = Command::new(python()).arg(script).args(words).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A log with an allowed and completed decision among others, under checkpoints.
pub async fn written() -> (Lab, Uuid) {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    for _ in 0..300 {
        lab.deny().await.unwrap();
    }
    let id = lab.allow().await.proof().id.clone();
    lab.audit.started(&id, "spiffe://kr-op.example/site/kr-seo-1");
    lab.audit.ended(Ended::not_forwarded(id.clone(), "test"));
    let decision: Uuid = id.parse().unwrap();
    eventually("all of it is under a checkpoint", async || {
        let case = audit::case(&lab.pool, decision).await.unwrap();
        case.is_some_and(|case| {
            case.records.len() == 3 && case.records.iter().all(|(_, one)| one.receipt.is_some())
        })
    })
    .await;
    (lab, decision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_implementation_checks_proofs_and_exports() {
    let (lab, decision) = written().await;
    let dir = scratch("shown");
    std::fs::create_dir(&dir).unwrap();
    let vkeys = [0, 1].map(|lane| lab.key.vkey(ORIGIN, lane).unwrap());
    let [first, second] = vkeys.each_ref().map(String::as_str);

    let file = dir.join("record.tlog-proof");
    let proven = audit::prove(&lab.pool, decision).await.unwrap().unwrap();
    let proof = proven.self_contained().unwrap();
    std::fs::write(&file, &proof).unwrap();
    let (right, said) = second_reader(&["proof", text(&file), first, second]);
    let expected = format!(
        "record {decision} (decision) is number {} of `{ORIGIN}/{}`",
        proven.index, proven.lane
    );
    assert!(right && said.starts_with(&expected), "{said}");
    let other = haetae::audit::Key::generate().unwrap().vkey(ORIGIN, proven.lane).unwrap();
    let (right, said) = second_reader(&["proof", text(&file), &other]);
    assert!(!right && said.contains("WRONG: no key given here signed the checkpoint"), "{said}");

    let pool = lab.stop().await;
    let file = dir.join("log.export");
    let mut out = std::fs::File::create(&file).unwrap();
    let done = export(&pool, Range::default(), Clock::system().unix_ns(), &mut out).await.unwrap();
    let (right, said) = second_reader(&["export", text(&file), first, second]);
    assert!(
        right && said.starts_with(&format!("whole: {} records in 2 lanes", done.leaves)),
        "{said}"
    );
    // A part of the log stands on the subtrees before it.
    let part = dir.join("part.export");
    let range = Range::Lane { lane: 0, from: 3, to: None };
    export(&pool, range, 0, std::fs::File::create(&part).unwrap()).await.unwrap();
    let (right, said) = second_reader(&["export", text(&part), first]);
    assert!(!right && said.starts_with("part: ") && said.ends_with("` before index 3"), "{said}");

    // One letter of a record, its mark left; then a cut file.
    let whole = std::fs::read_to_string(&file).unwrap();
    let place = whole.rfind("{\"bytes\":\"").unwrap() + 20;
    let mut spoiled = whole.clone().into_bytes();
    spoiled[place] = if spoiled[place] == b'A' { b'B' } else { b'A' };
    let cut = whole.get(..whole.len() / 2).unwrap().as_bytes().to_vec();
    for bytes in [spoiled, cut] {
        std::fs::write(&file, bytes).unwrap();
        let (right, said) = second_reader(&["export", text(&file), first, second]);
        assert!(!right && said.starts_with("WRONG: "), "{said}");
    }
    // Sealed again after the change, as anybody can: without any checkpoint, and with a record beyond the last one.
    let lines: Vec<serde_json::Value> =
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unsigned = lines.iter().filter(|line| line["type"] != "checkpoint").cloned().collect();
    let mut longer = lines.clone();
    let lane = longer.iter().rfind(|line| line["type"] == "leaf").unwrap()["lane"].clone();
    let at = longer[0]["lanes"].as_array().unwrap().iter().position(|one| one["lane"] == lane);
    let to = &mut longer[0]["lanes"][at.unwrap()]["to"];
    let index = to.as_u64().unwrap();
    *to = (index + 1).into();
    let leaf =
        json!({ "kind": "heartbeat", "lane": lane, "index": index, "id": "invented", "v": 1 });
    let leaf = serde_json::to_vec(&leaf).unwrap();
    let mark = STANDARD.encode(&tlog::Hash::leaf(&leaf).0[..8]);
    let bytes = STANDARD.encode(leaf);
    let last = longer.iter().rposition(|line| line["type"] == "leaf").unwrap();
    longer.insert(
        last + 1,
        json!({ "type": "leaf", "lane": lane, "index": index, "bytes": bytes, "mark": mark }),
    );
    for (forged, about) in [(unsigned, "no signed end"), (longer, "no signed end")] {
        std::fs::write(&file, sealed(forged)).unwrap();
        let (right, said) = second_reader(&["export", text(&file), first, second]);
        assert!(!right && said.contains(about), "{said}");
    }
    std::fs::write(&file, sealed(lines)).unwrap();
    assert!(second_reader(&["export", text(&file), first, second]).0, "sealed as it was");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The lines of an export under an end of their own.
fn sealed(mut lines: Vec<serde_json::Value>) -> String {
    let end = lines.pop_if(|line| line["type"] == "end").unwrap();
    let (mut whole, count) = (String::new(), lines.len());
    for line in lines {
        whole.push_str(&line.to_string());
        whole.push('\n');
    }
    let mut end = end;
    end["lines"] = count.into();
    end["sha256"] = STANDARD.encode(Sha256::digest(&whole)).into();
    format!("{whole}{end}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_carries_its_record_is_checked_offline_and_a_changed_one_is_not() {
    let (lab, decision) = written().await;
    let proven = audit::prove(&lab.pool, decision).await.unwrap().unwrap();
    let proof = proven.self_contained().unwrap();
    let vkey = lab.key.vkey(ORIGIN, proven.lane).unwrap();
    let trust = Trust::Keys(vec![vkey.parse().unwrap()]);
    let held = single::check(&proof, &trust).unwrap();
    assert_eq!((held.id.as_str(), held.kind.as_str()), (decision.to_string().as_str(), "decision"));
    assert!(held.text().en.starts_with("proven: record ") && held.text().ko.starts_with("증명됨"));
    let policy: tlog::Policy = format!("log {vkey}\nquorum none\n").parse().unwrap();
    assert_eq!(single::check(&proof, &Trust::Policy(policy)), Ok(held));

    let lines: Vec<&str> = proof.lines().collect();
    let code = |proof: &str| single::check(proof, &trust).unwrap_err().code();
    assert_eq!(code(&proof.replace(lines[1], "")), "checkpoint", "no proof without its lines");
    assert_eq!(code(proven.receipt.as_deref().unwrap()), "no_record");
    let other = audit::prove_place(&lab.pool, proven.lane, 1).await.unwrap().unwrap();
    let swapped = other.self_contained().unwrap();
    let extra = swapped.lines().nth(1).unwrap();
    assert_eq!(code(&proof.replace(lines[1], extra)), "not_in_tree");
    let another = tlog::Hash([7; 32]).to_string();
    assert_eq!(code(&proof.replace(lines[3], &another)), "not_in_tree");
    let stranger = haetae::audit::Key::generate().unwrap().vkey(ORIGIN, proven.lane).unwrap();
    let unproven =
        single::check(&proof, &Trust::Keys(vec![stranger.parse().unwrap()])).unwrap_err();
    assert_eq!(unproven.code(), "checkpoint");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_is_a_directory_that_anybody_can_check() {
    let (lab, decision) = written().await;
    let case = audit::case(&lab.pool, decision).await.unwrap().unwrap();
    let kinds: Vec<&str> = case.records.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["decision", "started", "ended"]);
    let leaf: serde_json::Value = serde_json::from_slice(&case.records[0].1.leaf).unwrap();
    for text in &case.texts {
        assert_eq!(leaf[&text.kind], tlog::Hash(text.digest).to_string());
        assert_eq!(audit::Text::new(text.bytes.clone().into()).digest, text.digest);
    }
    assert_eq!(case.texts.len(), 3);

    // As it is typed, and then by what lies in the directory alone.
    let (dir, id) = (scratch("case"), decision.to_string());
    let url = database_url(&lab.pool);
    let typed = Command::new(env!("CARGO_BIN_EXE_haetae"))
        .args(["log", "--database", &url, "export", "--case", &id, "--out", text(&dir)])
        .output()
        .unwrap();
    assert!(typed.status.success(), "{}", String::from_utf8_lossy(&typed.stderr));
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(readme.contains(&format!("| `{id}/ended-")), "{readme}");
    let stated = std::fs::read_to_string(dir.join("vkeys.txt")).unwrap();
    let files = std::fs::read_dir(dir.join(&id)).unwrap();
    let mut checked = 0;
    for file in files.map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|kind| kind == "tlog-proof") {
            let mut words = vec!["proof", text(&file)];
            words.extend(stated.lines());
            let output =
                Command::new(python()).arg(dir.join("verify.py")).args(words).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert_eq!(checked, 3);
    std::fs::remove_dir_all(&dir).unwrap();
    lab.stop().await;
}

/// How a command line reaches the same database.
pub fn database_url(pool: &sqlx::PgPool) -> String {
    let options = pool.connect_options();
    let (host, database) =
        (options.get_socket().unwrap().display().to_string(), options.get_database().unwrap());
    let (user, port) = (options.get_username(), options.get_port());
    format!("postgres://{user}@localhost:{port}/{database}?host={host}&sslmode=disable")
}

//! A witness by the letter of C2SP tlog-witness: every status of it; what it cosigned is on the disk before it answers; of
//! two that race only one extends; and a gateway's checkpoints come back cosigned, also from a witness that was away.

mod answers;
mod apart;
mod broken;
mod contradicts;
mod flood;
mod lost;
mod mirror;
mod own;
mod pages;
mod public;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use haetae::clock::Clock;
use haetae::cosign::{self, Cosign, WitnessConfig};
use haetae::witness::{Config, Witness};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};
use tlog::key::Kind;
use tlog::{Checkpoint, Hash, Note, Policy, Signer as _, SigningKey, proof};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::lab::{Lab, ORIGIN, eventually};
use crate::support::{Fresh, fresh_database};

const LOG: &str = "log.example/behind";
pub const NOW_NS: i64 = 1_795_000_000_000_000_000;

fn key(name: &str, kind: Kind, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, kind, &[seed; 32]).unwrap()
}

/// A log of our own: leaves and a key.
struct Log {
    signer: SigningKey,
    leaves: Vec<Hash>,
}

impl Log {
    fn new(count: u64) -> Self {
        Self::with(1, count)
    }

    fn with(seed: u8, count: u64) -> Self {
        let leaves = (0..count).map(|n| Hash::leaf(&n.to_be_bytes())).collect();
        Self { signer: key(LOG, Kind::Ed25519, seed), leaves }
    }

    /// Another tree of the same name and key.
    fn fork(&self, at: usize) -> Self {
        let mut leaves = self.leaves.clone();
        leaves[at] = Hash::leaf(b"another");
        Self { signer: key(LOG, Kind::Ed25519, 1), leaves }
    }

    fn root(&self, size: u64) -> Hash {
        proof::root(&self.leaves, size).unwrap()
    }

    fn note(&self, size: u64) -> String {
        let checkpoint = Checkpoint::new(LOG.to_owned(), size, self.root(size));
        checkpoint.sign(&self.signer).unwrap().to_string()
    }

    fn body(&self, old: u64, size: u64) -> String {
        let proof = proof::consistency(&self.leaves, old, size).unwrap_or_default();
        body(old, &proof, &self.note(size))
    }
}

pub fn body(old: u64, proof: &[Hash], note: &str) -> String {
    let mut lines = vec![format!("old {old}")];
    lines.extend(proof.iter().map(Hash::to_string));
    format!("{}\n\n{note}", lines.join("\n"))
}

/// The public key of the witness of [`config`].
pub fn vkey() -> String {
    key("witness.example/1", Kind::Cosignature, 9).verifier().to_string()
}

pub fn config(dir: &Path, logs: &str) -> Config {
    std::fs::write(dir.join("logs.policy"), format!("{logs}quorum none\n")).unwrap();
    let witness = key("witness.example/1", Kind::Cosignature, 9);
    std::fs::write(dir.join("witness.key"), witness.to_skey()).unwrap();
    let text = r#"
        key = "witness.key"
        logs = "logs.policy"
        state = "state"
        room_min_mb = 1
        listen = { address = "127.0.0.1:0" }
    "#;
    let mut config: Config = toml::from_str(text).unwrap();
    config.paths_mut().for_each(|path| *path = dir.join(&*path));
    config
}

fn open(dir: &Path) -> Arc<Witness> {
    let log = format!("log {}\n", key(LOG, Kind::Ed25519, 1).verifier());
    Arc::new(Witness::open(&config(dir, &log), Clock::fixed(NOW_NS)).unwrap())
}

pub async fn post(witness: &Arc<Witness>, body: impl Into<Bytes>) -> (StatusCode, String, String) {
    let body = Full::from(body.into()).map_err(|never| match never {});
    let request = Request::post("/add-checkpoint").body(body).unwrap();
    answer(witness.handle(request).await).await
}

async fn get(witness: &Arc<Witness>, path: &str) -> (StatusCode, String, String) {
    let body = Full::<Bytes>::default().map_err(|never| match never {});
    answer(witness.handle(Request::get(path).body(body).unwrap()).await).await
}

async fn answer(response: http::Response<Full<Bytes>>) -> (StatusCode, String, String) {
    let (head, body) = response.into_parts();
    let kind = head.headers["content-type"].to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, kind, String::from_utf8(body.to_vec()).unwrap())
}

async fn status(witness: &Arc<Witness>, body: impl Into<Bytes>) -> u16 {
    post(witness, body).await.0.as_u16()
}

#[tokio::test]
async fn a_log_that_grows_is_cosigned_and_shown() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(300));
    let witness = open(dir.path());
    let path = format!("/{}/checkpoint", hex::encode(Sha256::digest(LOG)));
    assert_eq!(get(&witness, &path).await.0, StatusCode::NOT_FOUND);
    for (old, size) in [(0, 0), (0, 1), (1, 1), (1, 255), (255, 256), (256, 300), (300, 300)] {
        let (status, _, lines) = post(&witness, log.body(old, size)).await;
        assert_eq!(status, StatusCode::OK, "{old} -> {size}: {lines}");
        let vkey = key("witness.example/1", Kind::Cosignature, 9).verifier().to_string();
        // The client's way of the specification: lines after the note, read with the keys it trusts.
        let trust: Policy =
            format!("log {}\nwitness w {vkey}\nquorum w\n", log.signer.verifier()).parse().unwrap();
        let cosigned = format!("{}{lines}", log.note(size));
        let trusted = trust.check(&cosigned).unwrap();
        assert_eq!((trusted.checkpoint.size, trusted.witnessed[0].1), (size, 1_795_000_000));
        let (status, _, shown) = get(&witness, &path).await;
        assert_eq!((status, &shown), (StatusCode::OK, &cosigned));
        // An oracle of other people reads it too.
        let verifier =
            signed_note::StandardVerifier::new(&log.signer.verifier().to_string()).unwrap();
        let verifiers = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        signed_note::Note::from_bytes(shown.as_bytes()).unwrap().verify(&verifiers).unwrap();
    }
    let (_, _, said) = get(&witness, "/status").await;
    assert!(said.contains("300 records") && !said.contains("ALARM"), "{said}");
}

#[tokio::test]
async fn each_refusal_has_the_status_of_the_specification() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 8)).await, 200);
    for malformed in ["", "old 8\n", "old x\n\nnote", "old 8\n\nno note at all\n"] {
        assert_eq!(status(&witness, malformed).await, 400, "{malformed:?}");
    }
    assert_eq!(status(&witness, vec![b'x'; 400 * 1024]).await, 400);
    assert_eq!(status(&witness, body(9, &[], &log.note(8))).await, 400, "old > size");

    let elsewhere = Checkpoint::new("other.example".to_owned(), 8, log.root(8));
    let elsewhere = elsewhere.sign(&key("other.example", Kind::Ed25519, 1)).unwrap();
    assert_eq!(status(&witness, body(8, &[], &elsewhere.to_string())).await, 404);
    let other_key = Log::with(2, 20);
    assert_eq!(status(&witness, other_key.body(8, 9)).await, 403, "no trusted signature");
    let spoilt = log.note(9).replace(&log.root(9).to_string(), &log.root(10).to_string());
    assert_eq!(status(&witness, body(8, &[], &spoilt)).await, 403, "a bad signature");

    let (code, kind, size) = post(&witness, log.body(7, 9)).await;
    assert_eq!((code.as_u16(), &*kind, &*size), (409, "text/x.tlog.size", "8\n"));
    assert_eq!(status(&witness, log.body(0, 9)).await, 409, "somebody who knows nothing");

    let fork = log.fork(3);
    for (what, body) in [
        ("another tree of the same size", body(8, &[], &fork.note(8))),
        ("a longer one that does not extend it", fork.body(8, 12)),
        ("without the proof", body(8, &[], &log.note(12))),
        ("a proof too many", body(8, &[log.root(1)], &log.note(8))),
    ] {
        assert_eq!(status(&witness, body).await, 422, "{what}");
    }
    let (_, _, said) = get(&witness, "/status").await;
    // One contradicts by itself; without a proof anybody can send what is signed.
    assert!(said.contains("ALARM: 1 signed") && said.contains("evidence kept: 2"), "{said}");
    assert!(said.contains("3 signed checkpoints came without a proof"), "{said}");
    // None of it moved the state.
    assert_eq!(status(&witness, log.body(8, 20)).await, 200);

    let (dir, empty) = (tempfile::tempdir().unwrap(), Log::new(0));
    let witness = open(dir.path());
    let odd = Checkpoint::new(LOG.to_owned(), 0, log.root(8)).sign(&empty.signer).unwrap();
    assert_eq!(status(&witness, body(0, &[], &odd.to_string())).await, 422, "an empty tree");
    assert_eq!(status(&witness, body(0, &[log.root(1)], &log.note(8))).await, 422);
}

/// Whoever repeats the log's signature makes no note that the next start does not read.
#[tokio::test]
async fn what_is_kept_has_each_signature_once() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    let note = log.note(8);
    let line = note.lines().last().unwrap();
    let mut repeated = note.clone();
    while repeated.len() + line.len() < tlog::Note::BYTES_MAX {
        repeated.push_str(line);
        repeated.push('\n');
    }
    assert_eq!(status(&witness, body(0, &[], &repeated)).await, 200);
    let path = format!("/{}/checkpoint", hex::encode(Sha256::digest(LOG)));
    let shown = get(&witness, &path).await.2;
    assert_eq!(shown.lines().filter(|line| line.starts_with('\u{2014}')).count(), 2, "{shown}");
    drop(witness);
    assert_eq!(status(&open(dir.path()), log.body(8, 9)).await, 200);
}

/// Two would cosign two trees.
#[tokio::test]
async fn a_second_process_does_not_get_the_state() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    let witness = open(dir.path());
    let logs = format!("log {}\n", log.signer.verifier());
    let refused = Witness::open(&config(dir.path(), &logs), Clock::fixed(NOW_NS)).err().unwrap();
    assert!(refused.to_string().contains("another witness has this state"), "{refused}");
    drop(witness);
    open(dir.path());
}

/// What anybody can send is an alarm once an hour, and takes no room from what contradicts.
#[tokio::test]
async fn without_a_proof_it_is_said_once() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(64));
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 8)).await, 200);
    // What we show ourselves, with a proof of nothing: it does not use up the hour's alarm.
    let shown = body(8, &[Hash::EMPTY], &log.note(8));
    assert_eq!(status(&witness, shown).await, 422);
    for size in 9..40 {
        assert_eq!(status(&witness, body(8, &[], &log.note(size))).await, 422);
    }
    let fork = log.fork(3).note(8);
    assert_eq!(status(&witness, body(8, &[], &fork)).await, 422);
    // The same one again says nothing new, nor does another line that nobody knows the key of.
    for line in ["", "\u{2014} a AAAAAA0=\n", "\u{2014} b AAAAAA0=\n"] {
        assert_eq!(status(&witness, body(8, &[], &format!("{fork}{line}"))).await, 422);
    }
    let (_, _, json) = get(&witness, "/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    let newest = status["alarms"]["newest"].as_array().unwrap();
    let what: Vec<&str> = newest.iter().map(|alarm| alarm["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["contradiction", "unproven"], "{json}");
    let of = &status["logs"][0];
    assert_eq!((&of["unproven"], &of["evidence"]), (&32.into(), &2.into()), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_extends_the_one_before() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Arc::new(Log::new(64)));
    let witness = open(dir.path());
    assert_eq!(status(&witness, log.body(0, 1)).await, 200);
    let mut racing = JoinSet::new();
    for size in 2..=64 {
        let (witness, body) = (Arc::clone(&witness), log.body(1, size));
        racing.spawn(async move { status(&witness, body).await });
    }
    let codes = racing.join_all().await;
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [200, 409].contains(code)), "{codes:?}");
}

#[tokio::test]
async fn what_was_cosigned_outlives_the_process_and_a_strange_state_stops_it() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log::new(20));
    assert_eq!(status(&open(dir.path()), log.body(0, 8)).await, 200);
    let again = open(dir.path());
    assert_eq!(status(&again, log.body(0, 9)).await, 409);
    assert_eq!(status(&again, log.body(8, 9)).await, 200);
    drop(again);
    let state = dir.path().join("state").join(hex::encode(Sha256::digest(LOG)));
    // Rolled back by hand to a tree that this witness never cosigned.
    std::fs::write(&state, log.note(2)).unwrap();
    let logs = format!("log {}\n", log.signer.verifier());
    let refused = Witness::open(&config(dir.path(), &logs), Clock::fixed(NOW_NS)).err().unwrap();
    assert!(refused.to_string().contains("does not bear this witness's signature"), "{refused}");
    std::fs::write(&state, "").unwrap();
    assert!(Witness::open(&config(dir.path(), &logs), Clock::fixed(NOW_NS)).is_err());
}

#[test]
fn the_example_is_a_configuration() {
    let _: Config = toml::from_str(include_str!("../../witness.toml")).unwrap();
}

/// The log of a gateway, and the witness as a process of its own would serve it.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_get_their_checkpoints_cosigned() {
    let (fresh, dir) = (fresh_database().await, tempfile::tempdir().unwrap());
    let lab = Lab::start(&fresh.pool, 2).await;
    let _ = lab.allow().await;
    let vkeys = [0, 1].map(|lane| lab.key.vkey(ORIGIN, lane).unwrap());
    let logs = format!("log {}\nlog {}\n", vkeys[0], vkeys[1]);
    let config = config(dir.path(), &logs);
    let running = haetae::app::witness::start(config.clone()).await.unwrap();
    let address = running.address();
    let vkey = key("witness.example/1", Kind::Cosignature, 9).verifier().to_string();
    let witness = WitnessConfig { vkey: vkey.clone(), url: format!("http://{address}"), ca: None };
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let start = |settings: &cosign::Config| {
        Cosign::start(settings, &fresh.pool, &lab.audit, Clock::system(), &tracker, &stop)
    };
    let twice = cosign::Config { witnesses: vec![witness.clone(), witness.clone()] };
    assert!(matches!(start(&twice), Err(cosign::ConfigError::Twice(_))));
    let settings = cosign::Config { witnesses: vec![witness] };
    let cosign = start(&settings).unwrap();
    let trust: Policy = format!("{logs}witness w {vkey}\nquorum w\n").parse().unwrap();
    let cosigned = async |lane| {
        let note = haetae::audit::checkpoint(&fresh.pool, lane, 0).await.unwrap();
        let note = note.map(|(_, note)| note).unwrap_or_default();
        trust.check(&note).ok().map(|trusted| trusted.checkpoint.size)
    };
    for lane in 0..2 {
        eventually("a cosigned checkpoint", async || cosigned(lane).await.is_some()).await;
    }
    // The witness goes away, the log goes on; it comes back with what it kept, and is told the rest with a proof.
    running.stop().await;
    for _ in 0..40 {
        let _ = lab.allow().await;
    }
    eventually("the trouble is said", async || cosign.health()[0].trouble.is_some()).await;
    let sizes: Vec<i64> = sqlx::query_scalar("select size from log_head order by lane")
        .fetch_all(&fresh.pool)
        .await
        .unwrap();
    let listen = format!("listen = {{ address = \"{address}\" }}");
    let listen: toml::Table = listen.parse().unwrap();
    let again = Config { listen: listen["listen"].clone().try_into().unwrap(), ..config };
    let running = haetae::app::witness::start(again).await.unwrap();
    for (lane, size) in (0..).zip(sizes) {
        eventually("all of the log is cosigned", async || {
            cosigned(lane).await.is_some_and(|cosigned| i64::try_from(cosigned).unwrap() >= size)
        })
        .await;
    }
    // A receipt that is made now bears the cosignature.
    let id = lab.allow().await.proof().id.parse().unwrap();
    eventually("a witnessed receipt", async || {
        let proven = haetae::audit::prove(&fresh.pool, id).await.unwrap();
        let Some((proven, receipt)) = proven.and_then(|it| Some((it.leaf, it.receipt?))) else {
            return false;
        };
        let receipt: tlog::Receipt = receipt.parse().unwrap();
        receipt.verify(&Hash::leaf(&proven), &trust).is_ok()
    })
    .await;
    let note: Note =
        haetae::audit::checkpoint(&fresh.pool, 0, 0).await.unwrap().unwrap().1.parse().unwrap();
    assert_eq!(note.signatures().len(), 2);

    let (_lost, behind) = behind(&lab, &settings, (&tracker, &stop)).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running.stop()).await.unwrap();
    behind.stop().await;
    lab.stop().await;
}

/// A database that has less than the witness has seen of the log: that is a record of it.
async fn behind(
    lab: &Lab,
    settings: &cosign::Config,
    (tracker, stop): (&TaskTracker, &CancellationToken),
) -> (Fresh, Lab) {
    let lost = fresh_database().await;
    let behind = Lab::start_at(&lost.pool, 2, Clock::system(), Arc::clone(&lab.key)).await;
    let audit = &behind.audit;
    Cosign::start(settings, &lost.pool, audit, Clock::system(), tracker, stop).unwrap();
    eventually("it is a record", async || {
        behind.leaves().await.iter().any(|leaf| {
            let about = leaf["about"].as_str().unwrap_or_default();
            leaf["what"] == "witness_knows_more" && about.contains("has cosigned")
        })
    })
    .await;
    (lost, behind)
}

//! Under keys that the reader brought a lane that is not there is missed; a database without a log is never a whole one; and exports
//! carry what a trust file with a quorum asks for.

use std::process::Command;

use haetae::audit::{
    Key, Published, Range, checkpoint, checkpoints, export, keep_cosignature, published, verify,
    verify_with,
};
use sqlx::PgPool;
use tlog::{Note, Policy, SigningKey, VerifierKey, key::Kind};

use super::believed::{run, written};
use super::lab::{Lab, ORIGIN, eventually};
use super::shown::database_url;
use crate::support::fresh_database;

fn vkey(key: &Key, lane: u16) -> VerifierKey {
    key.vkey(ORIGIN, lane).unwrap().parse().unwrap()
}

/// What the command prints and its exit code.
fn typed(pool: &PgPool, vkeys: &[VerifierKey]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
    command.args(["log", "verify", "--database", &database_url(pool)]);
    for vkey in vkeys {
        command.args(["--vkey", &vkey.to_string()]);
    }
    let ran = command.output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_lane_that_is_not_there_is_missed() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    let key = std::sync::Arc::clone(&lab.key);
    for _ in 0..6 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let pool = lab.stop().await;
    let trusted = [vkey(&key, 0), vkey(&key, 1)];
    let report = verify_with(&pool, &trusted).await.unwrap();
    assert_eq!((report.is_whole(), report.lanes, report.uncovered), (true, 2, 0));
    // The next generation's keys are handed out for both slots, and neither has gone over to it.
    let more = [&trusted[..], &[vkey(&key, 16), vkey(&key, 17)]].concat();
    let report = verify_with(&pool, &more).await.unwrap();
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.to_come, [16, 17].map(|lane| format!("{ORIGIN}/{lane}")));
    let (code, said) = typed(&pool, &more);
    assert!(code == Some(0) && said.contains("not there yet: `lab.example/log/17`"), "{said}");

    let gone = |lane: u16| {
        format!(
            "lane {lane}: missing: no lane of this database is named `{ORIGIN}/{lane}`, whose key is trusted: it was never opened, \
             or is gone, or this is another database"
        )
    };
    let said = async |trusted: &[VerifierKey]| {
        let found = verify_with(&pool, trusted).await.unwrap().findings;
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // Once a lane is dead, the next of its slot must be there.
    run(
        &pool,
        "update log_head set dead_at = now(), dead_size = size, dead_root = root where lane = 1",
    )
    .await;
    assert_eq!(said(&more).await, [gone(17)]);
    for lane in [
        "delete from log_epoch where lane = 1",
        "delete from log_batch where lane = 1",
        "delete from log_checkpoint where lane = 1",
        "delete from row_decision where lane = 1",
        "delete from projection_cursor where lane = 1",
        "delete from log_head where lane = 1",
    ] {
        sqlx::query(lane).execute(&pool).await.unwrap();
    }
    assert_eq!(said(&[]).await, Vec::<String>::new(), "who trusts the database misses nothing");
    assert_eq!(said(&trusted).await, [gone(1)]);
    assert_eq!(said(&[&trusted[..], &[vkey(&key, 17)]].concat()).await, [gone(1), gone(17)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_a_log_is_not_whole() {
    let pool = fresh_database().await.pool;
    let report = verify(&pool).await.unwrap();
    assert_eq!((report.is_whole(), report.findings.len()), (false, 0));
    let (code, said) = typed(&pool, &[]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("nothing: there is no log in this database: 0 records"), "{said}");
    let (code, said) = typed(&pool, &[vkey(&Key::generate().unwrap(), 0)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("lane 0: missing: no lane of this database is named"), "{said}");
}

fn witness() -> SigningKey {
    SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap()
}

/// A trust file that asks for the witness.
fn trust(key: &Key) -> Policy {
    let (log, witness) = (vkey(key, 0), witness());
    format!("log {log}\nwitness w {}\nquorum w\n", tlog::Signer::verifier(&witness))
        .parse()
        .unwrap()
}

/// The witness signs the newest checkpoint, and the gateway keeps what it said.
async fn cosigned(pool: &PgPool) -> Published {
    let newest = published(pool).await.unwrap().remove(0);
    let note: Note = newest.note.parse().unwrap();
    let line = tlog::cosignature::cosign(&note, &witness(), 1_795_000_000).unwrap().to_string();
    keep_cosignature(pool, &newest, "witness.example/1", 1_795_000_000, &line).await.unwrap();
    newest
}

/// Where an export ends, of how many records it says that they are not in it, what it says of cosignatures, and what the offline
/// verifier finds under the trust file.
async fn exported(
    pool: &PgPool,
    range: Range,
    trust: &Policy,
) -> (u64, u64, Option<u64>, Vec<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let now_ns = haetae::clock::Clock::system().unix_ns();
    let done = export(pool, range, now_ns, &mut file).await.unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let head: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let report =
        haetae_verify::verify(file.path(), &haetae_verify::Trust::Policy(trust.clone())).unwrap();
    let found = report.findings.iter().map(|found| found.text().en).collect();
    let to = head["lanes"][0]["to"].as_u64().unwrap();
    (to, done.uncovered, done.cosigned.map(|(_, size)| size), found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_and_a_checkpoint_carry_what_a_quorum_asks_for() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let (trust, all) = (trust(&lab.key), Range::default());
    let size = async || published(&lab.pool).await.unwrap().first().map_or(0, |newest| newest.size);
    let denied = async |until: u64| {
        while (lab.leaves().await.len() as u64) < until {
            lab.deny().await.unwrap();
        }
        eventually("all of it is under a checkpoint", async || size().await >= until).await;
        lab.projected().await;
    };
    denied(4).await;
    let (to, _, _, found) = exported(&lab.pool, all, &trust).await;
    assert!(to >= 4 && found.iter().any(|one| one.contains("not the quorum")), "{found:?}");
    let first = cosigned(&lab.pool).await.size;
    let (to, _, behind, found) = exported(&lab.pool, all, &trust).await;
    assert_eq!((to, behind, found), (first, None, vec![]));
    let notes = checkpoints(&lab.pool).await.unwrap();
    assert_eq!(trust.check(&notes[0]).unwrap().checkpoint.size, first);

    // The witness is a second behind: what is shown ends where it is, and says how much is not in it.
    denied(first + 3).await;
    let newest = size().await;
    let (to, beyond, behind, found) = exported(&lab.pool, all, &trust).await;
    assert_eq!((to, behind, found), (first, None, vec![]));
    assert!(beyond >= 3, "{beyond}");
    assert_eq!(
        trust.check(&checkpoints(&lab.pool).await.unwrap()[0]).unwrap().checkpoint.size,
        first
    );
    // It is away: records are not kept back for it, and how to end at what it cosigned is said.
    run(&lab.pool, "update log_checkpoint set at = at - interval '11 seconds'").await;
    let (to, _, behind, found) = exported(&lab.pool, all, &trust).await;
    assert!(to >= newest && found.iter().any(|one| one.contains("not the quorum")), "{found:?}");
    assert_eq!(behind, Some(first));
    let part = Range { lane: Some(0), to: behind, ..all };
    let (to, _, behind, found) = exported(&lab.pool, part, &trust).await;
    assert_eq!((to, behind, found), (first, None, vec![]));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_cosignature_is_named_and_spoils_no_note() {
    let (pool, ids) = written(2).await;
    let newest = cosigned(&pool).await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    for (witness, line) in [
        ("else.example/1", "— else.example/1 AAAA"),
        ("elsewhere.example/1", "— witness.example/1 AAAAAAAAAAA="),
    ] {
        keep_cosignature(&pool, &newest, witness, 1, line).await.unwrap();
    }
    let found = verify(&pool).await.unwrap().findings;
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let about = |witness: &str| {
        format!(
            "lane 0: checkpoint: what is kept as the cosignature of `{witness}` under the checkpoint of size {} is none",
            newest.size
        )
    };
    assert_eq!(found, [about("else.example/1"), about("elsewhere.example/1")]);
    // The one that is not even a signature line is not shown.
    let (_, note) = checkpoint(&pool, 0, 0).await.unwrap().unwrap();
    assert_eq!(note.parse::<Note>().unwrap().signatures().len(), 3);
    assert!(haetae::audit::prove(&pool, ids[0]).await.unwrap().unwrap().self_contained().is_some());
}

//! Rows done as superuser in the database.

use haetae::audit::{case, prove, verify, verify_with};
use tlog::{Signer as _, SigningKey, key::Kind};

use super::row;
use super::written::{RECORDS, SIGNED, Written, found};
use crate::audit::lab::ORIGIN;
use crate::support::scratch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edit_a_leaf() {
    let log = Written::copy().await;
    log.run(&["update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
               where first_index = 7"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "edit_a_leaf",
        &[("log verify", found(&inside, "index 7")), ("haetae-verify", found(&outside, "7"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_the_marks_of_a_batch() {
    let log = Written::copy().await;
    sqlx::raw_sql("alter domain leaf_marks drop constraint leaf_marks_check")
        .execute(log.pool())
        .await
        .unwrap();
    log.run(&[
        "update log_batch set marks = '' where first_index = 7",
        "update log_batch set marks = marks || marks where first_index = 9",
    ])
    .await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    found(&inside, "index 9: edited: the marks of a batch of 1 records are 16 bytes");
    row(
        "cut_the_marks_of_a_batch",
        &[("log verify", found(&inside, "marks")), ("haetae-verify", found(&outside, "7"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edit_only_a_projection() {
    let log = Written::copy().await;
    log.run(&["update row_decision set outcome = 'ALLOW' where index = 5"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    assert_eq!((inside.len(), outside.len()), (1, 1), "{inside:?} {outside:?}");
    let said = [("log verify", inside[0].clone()), ("haetae-verify", outside[0].clone())];
    row("edit_only_a_projection", &said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_from_the_middle() {
    let log = Written::copy().await;
    log.run(&["delete from log_batch where first_index = 40"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "delete_from_the_middle",
        &[("log verify", found(&inside, "missing")), ("haetae-verify", found(&outside, "40"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_the_tail_and_rewind_the_head() {
    let log = Written::copy().await;
    log.run(&[
        "delete from log_batch where first_index >= 201",
        "delete from row_decision where index >= 201",
        "update projection_cursor set next_index = 201",
    ])
    .await;
    let left = log.leaves().await;
    assert_eq!(left.len() as u64, SIGNED);
    log.rebuild(&left).await;
    let inside = log.inside().await;
    // With its checkpoints too, it is a whole and shorter log: only who kept something of it can tell.
    log.run(&["delete from log_checkpoint where size > 201"]).await;
    let shorter = verify(log.pool()).await.unwrap();
    assert_eq!((shorter.findings, shorter.records, shorter.uncovered), (vec![], SIGNED, 0));
    let outside = log.outside(std::slice::from_ref(&log.kept)).await;
    log.start_below("tail").await;
    row(
        "delete_the_tail_and_rewind_the_head",
        &[
            ("log verify", found(&inside, "says 302 records")),
            ("log verify, the checkpoints deleted too", "whole".to_owned()),
            ("haetae-verify with a kept checkpoint", found(&outside, "the records are missing")),
            ("gateway at its start", log.rollback().await),
        ],
    );
}

/// One record that nobody can read must not keep the others from those who ask the query tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spoil_what_the_rows_are_made_of() {
    let log = Written::copy().await;
    log.run(&[
        "update log_batch set leaves = set_byte(leaves, 2, 91) where first_index = 7",
        "delete from log_batch where first_index = 40",
        "delete from row_decision where index <> 9",
        "update row_decision set outcome = 'ALLOW' where index = 9",
        "update projection_cursor set next_index = 0",
    ])
    .await;
    let gateway = log.start(None).await;
    gateway.deny().await.unwrap();
    gateway.projected().await;
    gateway.stop().await;
    let rows = "select count(*) from row_decision where index <> 9";
    let rows: i64 = sqlx::query_scalar(rows).fetch_one(log.pool()).await.unwrap();
    assert_eq!(rows, 300 - 3 + 1, "all but those of 7, 9 and 40, and the new one's");
    let inside = log.inside().await;
    row(
        "spoil_what_the_rows_are_made_of",
        &[
            ("the log", log.alarm("not_projected").await),
            ("the log, of a row that was there", log.alarm("row_planted").await),
            ("log verify", found(&inside, "index 9")),
        ],
    );
}

/// Without the key nobody signs it: so its checkpoints go, and what nobody compares says that it is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewrite_the_log_without_its_key() {
    let log = Written::long_ago().await;
    let mut leaves = log.leaves().await;
    let text = String::from_utf8(leaves[2].clone()).unwrap();
    leaves[2] = text.replace("\"assistant\"", "\"assistent\"").into_bytes();
    log.rebuild(&leaves).await;
    log.run(&[
        "delete from log_checkpoint",
        "update row_decision set service = 'assistent' where index = 2",
        "update log_batch set at = now()",
    ])
    .await;
    let inside = log.inside().await;
    assert_eq!(inside.len(), 1, "{inside:?}");
    let seconds = inside[0].split_once("oldest for ").unwrap().1.split_once(' ').unwrap().0;
    let said = inside[0].replace(&format!("for {seconds} s"), "for N s");
    row("rewrite_the_log_without_its_key", &[("log verify", said)]);
}

/// The proof would be a good one, of somebody else's decision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn point_a_decision_at_another_record() {
    let log = Written::copy().await;
    let select = "select id from row_decision where index = 7";
    let id: uuid::Uuid = sqlx::query_scalar(select).fetch_one(log.pool()).await.unwrap();
    log.run(&[
        "update row_decision set index = 1007 where index = 7",
        "update row_decision set index = 7 where index = 8",
        "update row_decision set index = 8 where index = 1007",
    ])
    .await;
    let refused = [prove(log.pool(), id).await.err(), case(log.pool(), id).await.err()];
    let [proof, evidence] = refused.map(|cause| cause.unwrap().to_string());
    assert_eq!(proof, evidence);
    let said = [
        ("log prove, log export --case", proof.split_once(": ").unwrap().1.to_owned()),
        ("log verify", found(&log.inside().await, "index 7")),
    ];
    row("point_a_decision_at_another_record", &said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invent_rows_of_no_lane() {
    let log = Written::copy().await;
    log.run(&["insert into row_decision select 99, index, gen_random_uuid(), at_ns, org, actor, 'ALLOW', reason, rule, site,
               service, operation, issuer, facts, detail, bundle from row_decision where index <= 5"])
        .await;
    let inside = log.inside().await;
    assert_eq!(inside.len(), 1, "{inside:?}");
    row("invent_rows_of_no_lane", &[("log verify", inside[0].clone())]);
}

/// Every lane of the deployment, or just one of them: the database alone does not say which there were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_the_database() {
    let log = Written::copy().await;
    sqlx::raw_sql(
        "truncate log_head, log_batch, log_tile, log_checkpoint, row_decision, row_flow cascade",
    )
    .execute(log.pool())
    .await
    .unwrap();
    let own = verify(log.pool()).await.unwrap();
    assert_eq!((own.findings.len(), own.is_whole()), (0, false), "and its exit code is 1");
    let trusted = [log.vkey().parse().unwrap()];
    let found = verify_with(log.pool(), &trusted).await.unwrap().findings;
    row("empty_the_database", &[("log verify --vkey", found[0].to_string())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_two_records() {
    let log = Written::copy().await;
    log.run(&["update log_batch b set leaves = o.leaves, marks = o.marks from log_batch o
               where (b.first_index, o.first_index) in ((10, 20), (20, 10))"])
        .await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "swap_two_records",
        &[("log verify", found(&inside, "index 10, ")), ("haetae-verify", found(&outside, "10"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_a_tile() {
    let log = Written::copy().await;
    // A right tile of another log, so to speak: every hash is moved by one place.
    log.run(&[
        "update log_tile set hashes = substr(hashes, 33) || substr(hashes, 1, 32) where level = 0",
    ])
    .await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    row(
        "replace_a_tile",
        &[
            ("log verify", found(&inside, "tile 0/0 does not agree")),
            ("haetae-verify", found(&outside, "index 0,")),
        ],
    );
}

/// What the witness signed of an earlier checkpoint: without its key nobody makes one that fits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_a_cosignature() {
    let log = Written::copy().await;
    let note = "select note from log_checkpoint where size = 201";
    let earlier: String = sqlx::query_scalar(note).fetch_one(log.pool()).await.unwrap();
    let witness = SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap();
    for (size, of) in [(SIGNED, &earlier), (RECORDS, &log.kept), (RECORDS, &earlier)] {
        let line =
            tlog::cosignature::cosign(&of.parse().unwrap(), &witness, 1_795_000_000).unwrap();
        let keep = "insert into log_cosignature values (0, $1, 'witness.example/1', 1795000000, $2)
                    on conflict (lane, size, witness) do update set line = excluded.line";
        let size = i64::try_from(size).unwrap();
        sqlx::query(keep).bind(size).bind(line.to_string()).execute(log.pool()).await.unwrap();
    }
    assert_eq!(log.inside().await, Vec::<String>::new(), "who knows no witness sees nothing");
    let inside = log.inside_with(&witness.verifier().to_string()).await;
    assert_eq!(inside.len(), 1, "the earlier one is cosigned: {inside:?}");
    row("replace_a_cosignature", &[("log verify --trust", inside[0].clone())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_a_backup() {
    let dir = scratch("restored");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("high-water.json");
    // Two copies of one log: one serves for a while, then the other is put in its place.
    let (served, restored) = (Written::copy().await, Written::copy().await);
    let lab = served.start(Some(&file)).await;
    for _ in 0..5 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    lab.stop().await;
    let had = sqlx::query_scalar::<_, i64>("select size from log_head where lane = 0");
    let had = had.fetch_one(served.pool()).await.unwrap().to_string();
    let lab = restored.start(Some(&file)).await;
    assert_eq!(lab.proven(&lab.deny().await.unwrap())["lane"], 16, "the dead lane is not signed");
    lab.projected().await;
    lab.stop().await;
    std::fs::remove_dir_all(&dir).unwrap();
    // Of the lane that goes on its readers have no key yet: that is what they are told, once.
    let [first, next] = [0, 16].map(|lane| restored.key.vkey(ORIGIN, lane).unwrap());
    let keys = [first.parse().unwrap(), next.parse().unwrap()];
    let under = async |keys: &[tlog::VerifierKey]| {
        let found = verify_with(restored.pool(), keys).await.unwrap().findings;
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let without = under(&keys[..1]).await;
    assert_eq!((without.len(), under(&keys).await.len()), (2, 1), "{without:?}");
    row(
        "restore_a_backup",
        &[
            ("gateway at its start", restored.rollback().await.replace(&had, "N")),
            ("log verify", found(&restored.inside().await, "were lost").replace(&had, "N")),
            ("log verify --trust, without the key of the lane that goes on", without[1].clone()),
        ],
    );
}

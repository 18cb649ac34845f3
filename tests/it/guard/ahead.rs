//! A journal against a log whose times ran ahead of the clock: hours are those of the clock, as they are at the site.

use std::process::Command;

use haetae::audit::{How, allows, allows_at};
use haetae::clock::Clock;
use http::StatusCode;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{NS, Site, request};
use crate::audit::lab::ORIGIN;
use crate::audit::shown::database_url;

const AHEAD: i64 = 3 * 3_600 * NS;
const MINUTE: i64 = 60 * NS;

/// A site whose log had one record three hours ahead, and then three allows at the right time: the first was let in, the second was sent
/// and not let in, the third was not sent.
struct Ahead {
    site: Site,
    now: i64,
    ids: [String; 4],
}

impl Ahead {
    async fn happened() -> Self {
        // The database's clock is a real one.
        let now = Clock::system().unix_ns();
        let site = Site::at(now, 1).await;
        site.clock.set(now + AHEAD);
        let ahead = site.allow().await;
        site.clock.set(now);
        let (fine, missed, kept) = (site.allow().await, site.allow().await, site.allow().await);
        assert_eq!(site.send(request(&fine)).await.0, StatusCode::OK);
        let ends = [
            (&ahead, How::NotForwarded),
            (&fine, How::Forwarded),
            (&missed, How::Forwarded),
            (&kept, How::NotForwarded),
        ];
        site.end(&ends).await;
        let ids = ends.map(|(proof, _)| proof.id.to_string());
        Self { site, now, ids }
    }

    /// `haetae log reconcile` for this span: whether all fits, and what it says.
    async fn reconcile(&self, since: i64, until: i64) -> (bool, String) {
        let text = |at_ns: i64| {
            let at = OffsetDateTime::from_unix_timestamp_nanos(at_ns.into()).unwrap();
            at.format(&Rfc3339).unwrap()
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
        command.args(["log", "--database", &database_url(&self.site.lab.pool), "reconcile"]);
        command.args(["--since", &text(since), "--until", &text(until)]);
        command.arg(&self.site.config.journal);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said)
    }
}

/// Allowed, let in, not sent, refused and mismatches, over all hours.
fn counted(said: &str) -> Vec<u64> {
    let hours = said.lines().filter(|line| line.contains(":00:00Z "));
    let counts = |line: &str| -> Vec<u64> {
        line.split_whitespace().skip(1).map(|count| count.parse().unwrap()).collect()
    };
    hours.map(counts).fold(vec![0; 5], |all, hour| {
        all.iter().zip(hour).map(|(all, count)| all + count).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_is_held_against_its_own_hour() {
    let happened = Ahead::happened().await;
    let Ahead { site, now, ids } = &happened;
    let [ahead, _, missed, _] = ids;

    let (fits, said) = happened.reconcile(now - MINUTE, now + MINUTE).await;
    assert!(!fits && said.contains("allowed and sent, not let in"), "{said}");
    assert!(said.contains(missed.as_str()) && !said.contains("let in, not allowed"), "{said}");
    assert_eq!(counted(&said), [3, 1, 1, 0, 1], "{said}");
    // Their `at` lies in this hour, and what they are about does not.
    let (fits, said) = happened.reconcile(now + AHEAD - MINUTE, now + AHEAD + MINUTE).await;
    assert!(fits, "{said}");
    assert_eq!(counted(&said), [1, 0, 1, 0, 0], "{said}");

    // Whoever runs `log reconcile`, and whoever runs `obligation check`.
    for role in ["haetae_reader", "haetae_registrar"] {
        let options = PgConnectOptions::clone(&site.lab.pool.connect_options());
        let pool = PgPool::connect_with(options.options([("role", role)])).await.unwrap();
        let made = allows(&pool, "kr-seo-1", now - MINUTE, now + MINUTE).await.unwrap();
        let made: Vec<String> = made.iter().map(|allow| allow.id.to_string()).collect();
        assert_eq!(made, ids[1..], "{role}");
    }
    let made = allows(&site.lab.pool, "kr-seo-1", now + MINUTE, i64::MAX).await.unwrap();
    assert_eq!((made.len(), made[0].id.to_string()), (1, ahead.clone()));
    happened.site.lab.stop().await;
}

/// A site that was reached past its guard could say that its journal begins later.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_the_journal_begins_is_told_to_who_asks_for_that_time() {
    let happened = Ahead::happened().await;
    let Ahead { site, now, ids } = &happened;
    let (begins, first) = (now + MINUTE / 2, "0".repeat(64));
    let line = format!(
        r#"{{"at_ns":{begins},"previous":"{first}","site":"kr-seo-1","v":1,"what":"started"}}"#
    );
    std::fs::write(&site.config.journal, line + "\n").unwrap();
    let (fits, said) = happened.reconcile(now - MINUTE, now + MINUTE).await;
    assert!(!fits && ids[1..3].iter().all(|id| said.contains(id.as_str())), "{said}");
    let (fits, said) = happened.reconcile(begins, now + MINUTE).await;
    assert!(fits, "{said}");
    happened.site.lab.stop().await;
}

/// When a batch was written is for the database's clock to say, and that may be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_let_in_is_looked_up_by_its_place() {
    let happened = Ahead::happened().await;
    let Ahead { site, now, ids } = &happened;
    let later = "update log_batch set at = at + interval '1 day'";
    sqlx::query(later).execute(&site.lab.pool).await.unwrap();
    let made = allows(&site.lab.pool, "kr-seo-1", now - MINUTE, now + MINUTE).await.unwrap();
    assert_eq!(made, [], "a row alone does not say it");
    let (fits, said) = happened.reconcile(now - MINUTE, now + MINUTE).await;
    assert!(fits && said.contains("whoever was let in was allowed"), "{said}");

    let lane = format!("{ORIGIN}/0");
    let leaves = site.lab.leaves().await;
    let place = |id: &String| {
        let leaf = leaves.iter().find(|leaf| leaf["id"] == id.as_str()).unwrap();
        (lane.as_str(), leaf["index"].as_u64().unwrap())
    };
    let places = [place(&ids[1]), place(&ids[3]), (&lane, 9_999), ("elsewhere.example/log/0", 1)];
    let found = allows_at(&site.lab.pool, "kr-seo-1", &places).await.unwrap();
    let mut found: Vec<String> = found.iter().map(|allow| allow.id.to_string()).collect();
    found.sort_by_key(|id| ids.iter().position(|one| one == id));
    assert_eq!(found, [ids[1].clone(), ids[3].clone()]);
    assert_eq!(allows_at(&site.lab.pool, "us-ash-1", &places).await.unwrap(), []);
    happened.site.lab.stop().await;
}

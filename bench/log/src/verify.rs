//! A log of so many records, written by the log's own writers and verified as `haetae log verify` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use haetae::audit::{Audit, Ended, How, Key, Recorded, verify};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::cpu;
use crate::draft::{IDENTITY, draft};
use crate::log::{Log, projected};
use crate::private::Private;
use crate::report::{self, median};

/// One round: records a second by the wall clock, and microseconds a record of the verifier and of Postgres.
struct Round {
    rate: f64,
    own_us: f64,
    server_us: f64,
}

pub async fn run(records: u64) -> anyhow::Result<String> {
    // What is measured does not write.
    let private = Private::start("verify", false).await?;
    let pool = private.database("log").await?;
    let began = Instant::now();
    write(&pool, records).await?;
    eprintln!("{records} records written in {:.0} s", began.elapsed().as_secs_f64());
    sqlx::raw_sql("vacuum analyze").execute(&pool).await?;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let (server, own, began) = (private.cpu(), cpu::own(), Instant::now());
        let report = verify(&pool).await?;
        let wall = began.elapsed();
        anyhow::ensure!(report.is_whole(), "the log is whole: {:?}", report.findings.first());
        let each = |time: Duration| time.as_secs_f64() * 1e6 / report.records as f64;
        let rate = report.records as f64 / wall.as_secs_f64();
        let it =
            Round { rate, own_us: each(cpu::own() - own), server_us: each(private.cpu() - server) };
        eprintln!(
            "verify {round}: {rate:.0} records/s, verifier {:.2} us, Postgres {:.2} us",
            it.own_us, it.server_us
        );
        // The first round fills the caches.
        rounds.extend((round > 0).then_some(it));
    }
    let of = |field: fn(&Round) -> f64| median(rounds.iter().map(field).collect());
    let (rate, own, server) = (of(|it| it.rate), of(|it| it.own_us), of(|it| it.server_us));
    let two = 2e6 / (own + server);
    Ok(format!(
        "**`haetae log verify`.** A log of {records} records in {LANES} lanes (of five decisions three are allowed, with `started` and \
         `ended`; leaves of about 1,200, 300 and 400 bytes), from a warm file, {ROUNDS} rounds, medians. Everything that a plain run looks \
         at: leaves, marks, tree, tiles, checkpoints, rows, texts.\n\n\
         | records/s by the clock | CPU us/record: verifier | Postgres | together | records/s that two cores can do |\n\
         |---:|---:|---:|---:|---:|\n\
         | {rate:.0} | {own:.2} | {server:.2} | {:.2} | {two:.0} |\n\n\
         Promised: 300,000 records/s on two cores{}.\n",
        own + server,
        report::met(rate >= 300_000.0)
    ))
}

async fn write(pool: &PgPool, records: u64) -> anyhow::Result<()> {
    let log = Log::start(pool, &Key::generate()?, LANES, LANES).await?;
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(log.audit.clone(), Arc::clone(&done), records));
    }
    clients.join_all().await;
    while log.audit.health().waiting_notices > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    projected(pool).await?;
    log.stop().await;
    Ok(())
}

/// Of five decisions three are allowed, which is three records each.
async fn client(audit: Audit, done: Arc<AtomicU64>, records: u64) {
    let mut turn = 0_u64;
    while done.load(Ordering::Relaxed) < records {
        turn += 1;
        match audit.record(draft(turn % 5 < 3)).await.unwrap() {
            Recorded::Refusal(_) => done.fetch_add(1, Ordering::Relaxed),
            Recorded::Permit(permit) => {
                let id = Arc::clone(&permit.proof().id);
                audit.started(&id, IDENTITY);
                audit.ended(ended(id));
                done.fetch_add(3, Ordering::Relaxed)
            }
        };
    }
}

pub fn ended(id: Arc<str>) -> Ended {
    Ended {
        id,
        how: How::Forwarded,
        status: Some(200),
        bytes_out: 12_345,
        bytes_back: 6_789,
        duration_ms: 812,
        why: None,
        withdrawn: None,
    }
}

const LANES: u16 = 2;
const CLIENTS: usize = 512;
const ROUNDS: usize = 5;

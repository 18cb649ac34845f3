//! How much a record costs. Not a test of anything: run it with
//! `cargo test --release --test it audit::pace -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::lab::Lab;
use crate::support::durable_cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn of_closed_loops_on_a_durable_database() {
    let (_cluster, fresh) = durable_cluster().await;
    let lab = Arc::new(Lab::start(&fresh.pool, 2).await);
    for clients in [1, 16, 64, 256, 1_024] {
        let (before, began) = (cpu(), Instant::now());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(until(Arc::clone(&lab), began + Duration::from_secs(5)));
        }
        let records: u32 = tasks.join_all().await.iter().sum();
        let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu().saturating_sub(before));
        let records = f64::from(records);
        println!(
            "{clients:5} clients: {:8.0} decisions/s, {:6.1} us CPU of this process each",
            records / wall,
            cpu.as_secs_f64() * 1e6 / records
        );
    }
    lab.projected().await;
    Arc::into_inner(lab).unwrap().stop().await;
}

async fn until(lab: Arc<Lab>, end: Instant) -> u32 {
    let mut records = 0;
    while Instant::now() < end {
        lab.deny().await.unwrap();
        records += 1;
    }
    records
}

/// User and system time of this process, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

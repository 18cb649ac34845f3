//! Receipts of a real log, as a gateway would send them on: 64 requests at a time record, and commits are as large as they are then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use haetae::audit::{Audit, Key, Recorded};
use tokio::task::JoinSet;

use crate::draft::draft;
use crate::log::Log;
use crate::private::Private;
use crate::verify::ended;

/// The headers of one request.
pub struct Ticket {
    pub receipt: Bytes,
    pub leaf: Bytes,
}

pub struct Minted {
    pub tickets: Vec<Arc<Ticket>>,
    pub commits: usize,
}

pub async fn receipts(key: &Key, count: usize) -> anyhow::Result<Minted> {
    let private = Private::start("mint", true).await?;
    let pool = private.database("log").await?;
    let log = Log::start(&pool, key, LANES, LANES).await?;
    let left = Arc::new(AtomicUsize::new(count));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(log.audit.clone(), Arc::clone(&left)));
    }
    let tickets = clients.join_all().await.concat();
    let commits: i64 =
        sqlx::query_scalar("select count(*) from log_batch").fetch_one(&pool).await?;
    log.stop().await;
    Ok(Minted { tickets: in_order(tickets), commits: usize::try_from(commits)? })
}

async fn client(audit: Audit, left: Arc<AtomicUsize>) -> Vec<(Arc<str>, Arc<Ticket>)> {
    let mut tickets = Vec::new();
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
    {
        let Recorded::Permit(permit) = audit.record(draft(true)).await.unwrap() else {
            panic!("it allows")
        };
        let proof = permit.proof();
        let (receipt, leaf) = (proof.receipt.clone(), proof.leaf.clone());
        audit.ended(ended(Arc::clone(&proof.id)));
        tickets.push((Arc::clone(&proof.id), Arc::new(Ticket { receipt, leaf })));
    }
    tickets
}

/// As they were recorded: ids are of version 7, in the order of time.
fn in_order(mut tickets: Vec<(Arc<str>, Arc<Ticket>)>) -> Vec<Arc<Ticket>> {
    tickets.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    tickets.into_iter().map(|(_, ticket)| ticket).collect()
}

/// The product's default.
pub const LANES: u16 = 2;
const CLIENTS: usize = 64;

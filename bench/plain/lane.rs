//! In place of `src/audit/lane.rs` in the build that the log is held against: what waits in the same queue is committed as plain
//! rows in one statement. No leaf, tree, fence, signature or receipt. For `bench/run.py --plain` alone.

use std::sync::Arc;

use sqlx::PgConnection;
use tlog::{Frontier, tile};
use tokio::time::{Duration, Instant, sleep, sleep_until};
use uuid::Uuid;

use super::{
    AuditError, Ended, Key,
    batch::{self, Batch, Committed, Facts, Memory, Tip},
    chance,
    leaf::{Decision, Notice},
    opens::Open,
    queue::{Delivery, Items, Next, Request},
    recorder::Shared,
    store,
};

pub(super) struct Lane {
    slot: u16,
    shared: Arc<Shared>,
    chance: chance::Pool,
    /// The rest of the room wants a batch and a receipt.
    batch: Batch,
    committed: Arc<Committed>,
}

impl Lane {
    #[expect(clippy::needless_pass_by_value, reason = "as the lane it stands for")]
    pub fn new(
        slot: u16,
        shared: Arc<Shared>,
        _nothing_is_signed: Arc<[Key]>,
    ) -> Result<Self, AuditError> {
        let (batch, committed) = stand_in()?;
        Ok(Self { slot, shared, chance: chance::Pool::new(), batch, committed })
    }

    /// Until the room is told to stop, or the database fails: then it begins again, and what was under way is refused.
    pub async fn run(mut self) {
        while !self.shared.stop.is_cancelled() {
            if let Err(cause) = self.serve().await {
                tracing::error!(%cause, "plain rows are not committed");
                self.shared.board.lost(self.slot, cause.to_string());
                sleep(Duration::from_millis(200)).await;
            }
        }
        self.shared.queue.close();
        self.shared.board.stopped(self.slot);
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        let mut connection = store::connect(&self.shared.options(), &self.shared.identity).await?;
        self.shared.board.held(self.slot);
        let mut heard = Instant::now();
        while !self.shared.stop.is_cancelled() {
            self.shared.queue.gather().await;
            let due = match self.shared.queue.next() {
                Next::Commit(items, _turn) => {
                    self.commit(&mut connection, items).await?;
                    heard = Instant::now();
                    continue;
                }
                Next::Wait(due) => due,
            };
            let ping = heard + Duration::from_secs(1);
            tokio::select! {
                () = self.shared.queue.wait() => {}
                () = self.shared.stop.cancelled() => {}
                () = sleep_until(due.map_or(ping, |due| due.min(ping))) => {}
            }
            if Instant::now() >= ping {
                store::ping(&mut connection).await?;
                heard = Instant::now();
            }
        }
        Ok(())
    }

    async fn commit(&mut self, connection: &mut PgConnection, items: Items) -> anyhow::Result<()> {
        let began = Instant::now();
        let ids = items.decisions.iter().map(|_| self.id()).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Rows::default();
        for noted in &items.notices {
            rows.notice(self.id()?, &noted.notice);
        }
        for (id, request) in ids.iter().zip(&items.decisions) {
            rows.decision(*id, &request.decision);
        }
        rows.insert(connection).await?;
        self.shared.metrics.commit(began.elapsed(), &self.batch);
        for (id, request) in ids.into_iter().zip(items.decisions) {
            self.release(id, request);
        }
        Ok(())
    }

    fn release(&self, id: Uuid, request: Request) {
        let Request { reply, slot, .. } = request;
        let id: Arc<str> = id.as_hyphenated().to_string().into();
        let allows = slot.map(|slot| {
            self.shared.queue.begin(&id, Open::new(slot, (self.slot, 1)));
            Arc::clone(&self.shared.queue)
        });
        let _nobody_waits =
            reply.send(Ok(Delivery::new(Arc::clone(&self.committed), 0, id, allows)));
    }

    fn id(&mut self) -> Result<Uuid, AuditError> {
        let chance = self.chance.take()?;
        Ok(chance::id(self.shared.clock.unix_ns(), &chance))
    }
}

/// One record that says nothing, under an empty checkpoint.
fn stand_in() -> Result<(Batch, Arc<Committed>), AuditError> {
    let items = || Items {
        notices: vec![Notice::Heartbeat { heads: Vec::new() }.into()],
        decisions: Vec::new(),
    };
    let make = || batch::build(&tip(), items(), Facts::default(), 1, &mut Memory::new(None));
    let nothing = || AuditError::Content("a batch of one record is empty".to_owned());
    let (batch, other) = (make()?.0.ok_or_else(nothing)?, make()?.0.ok_or_else(nothing)?);
    Ok((batch, Arc::new(other.committed(String::new()).0)))
}

fn tip() -> Tip {
    Tip {
        lane: 0,
        epoch: 1,
        frontier: Frontier::new(),
        edge: tile::Edge::new(),
        last_ns: 0,
        version: 0,
        erasures: 0,
        behind: false,
    }
}

/// Columns of one insert.
#[derive(Default)]
struct Rows<'i> {
    ids: Vec<Uuid>,
    texts: [Vec<Option<&'i str>>; TEXTS],
    numbers: [Vec<Option<i64>>; 3],
}

impl<'i> Rows<'i> {
    fn add(&mut self, id: Uuid, texts: [Option<&'i str>; TEXTS], numbers: [Option<i64>; 3]) {
        self.ids.push(id);
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.push(text));
        self.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
    }

    fn decision(&mut self, id: Uuid, decision: &'i Decision) {
        let draft = &decision.draft;
        let texts = [
            Some("decision"),
            Some(&*draft.org),
            Some(&*draft.actor),
            draft.issuer.as_deref(),
            Some(draft.operation),
            Some(&*draft.service),
            draft.datasets.first().map(|dataset| &**dataset),
            draft.purpose.as_deref(),
            Some(&*draft.trace_id),
            Some(&*draft.body_digest),
            Some(draft.reason.code()),
            draft.rule.as_deref(),
            draft.site.as_ref().map(|target| &*target.site),
        ];
        self.add(
            id,
            texts,
            [i64::try_from(draft.body_bytes).ok(), Some(draft.fact_version), draft.valid_until],
        );
    }

    fn notice(&mut self, id: Uuid, notice: &'i Notice) {
        let mut texts = [None; TEXTS];
        let mut numbers = [None; 3];
        match notice {
            Notice::Started { decision, identity } => {
                (texts[0], texts[1], texts[2]) =
                    (Some("started"), Some(&**decision), Some(&**identity));
            }
            Notice::Ended(Ended { id, why, status, bytes_out, duration_ms, .. }) => {
                (texts[0], texts[1], texts[2]) = (Some("ended"), Some(&**id), *why);
                numbers = [
                    status.map(i64::from),
                    i64::try_from(*bytes_out).ok(),
                    i64::try_from(*duration_ms).ok(),
                ];
            }
            _ => texts[0] = Some("other"),
        }
        self.add(id, texts, numbers);
    }

    async fn insert(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let query = sqlx::query(INSERT).bind(self.ids);
        let query = self.texts.into_iter().fold(query, |query, column| query.bind(column));
        let query = self.numbers.into_iter().fold(query, |query, column| query.bind(column));
        query.execute(connection).await.map(drop)
    }
}

const TEXTS: usize = 13;
/// `bench/run.py` makes the table.
const INSERT: &str = "
    insert into plain_row (id, what, org, actor, issuer, operation, service, dataset, purpose, trace, body, reason, rule, site,
                           bytes, version, until)
    select unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::text[]),
           unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]),
           unnest($13::text[]), unnest($14::text[]), unnest($15::bigint[]), unnest($16::bigint[]), unnest($17::bigint[])";

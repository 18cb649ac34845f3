//! One request, in order: identify, read, decide, record, then forward or refuse. The only room that knows the order.
//!
//! *Invariant:* nothing reaches a site but through [`forward::Forward::send`], which consumes a `Permit`, which only a
//! durable ALLOW makes. An identified caller is never refused without a record; when there can be none the answer is 503.

mod admit;
mod answer;
mod beside;
mod body;
mod draft;
mod language;
mod later;
mod limits;
mod manage;
mod metrics;
mod preflight;
mod prepare;
pub mod recheck;
mod route;
mod standing;
pub mod strict;
mod trace;
mod underway;
mod uses;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use sqlx::PgPool;

use crate::access;
use crate::audit::{Audit, Keeps, Permit, Proof, RecordError, Recorded, Stranger};
use crate::caller::{self, Caller, Callers, Connection};
use crate::clock::Clock;
use crate::forward::{self, Forward};
use crate::hold::Holds;
use crate::obligation::Obligations;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::reserve::Reserve;
use crate::shadow::Shadow;
use crate::webhook::Webhooks;
use verdict::decision::Why;
use verdict::reason::Reason;
use verdict::told::Language;

use crate::workload::haetae::Errand;
use crate::workload::{self, Claims, NotUnderstood, Protocol, Route};

use beside::{Beside, Made};
pub use limits::Config;
use limits::Limits;
use metrics::Metrics;
use prepare::{Prepared, Preparer};
pub use standing::bundle_in_force;
use trace::Trace;
use underway::{Given, Open, UnderWay};
use uses::Ready;

/// The policy enforcement point: owns the order of one request and nothing else.
pub struct Gate {
    pub(crate) callers: Arc<Callers>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) forward: Arc<Forward>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) holds: Holds,
    pub(crate) obligations: Obligations,
    pub(crate) webhooks: Webhooks,
    pub(crate) access: access::Desk,
    pub(crate) clock: Clock,
    /// For what callers read of the log.
    reads: PgPool,
    preparer: Preparer,
    underway: Arc<UnderWay>,
    beside: Beside,
    limits: Limits,
    metrics: Metrics,
    authorities: strict::Authorities,
}

/// The rooms that the gate joins.
pub struct Rooms {
    pub callers: Arc<Callers>,
    pub registry: Arc<Registry>,
    pub policy: Arc<Policy>,
    pub audit: Arc<Audit>,
    pub forward: Arc<Forward>,
    pub reserve: Arc<Reserve>,
    pub holds: Holds,
    pub obligations: Obligations,
    pub webhooks: Webhooks,
    pub access: access::Desk,
    pub shadow: Shadow,
    /// For what callers read of the log: never the one that decisions wait for. It only reads.
    pub reads: PgPool,
    pub clock: Clock,
}

/// What is known of a request once its caller is: enough to record any refusal of it.
struct Known {
    caller: Arc<Caller>,
    network: String,
    trace: Trace,
    route: Option<Route>,
    body_digest: String,
    body_bytes: u64,
    korean: bool,
    arrived: Instant,
}

impl Gate {
    #[must_use]
    pub fn new(config: &Config, rooms: Rooms, authorities: strict::Authorities) -> Self {
        Self {
            preparer: Preparer::new(
                rooms.policy,
                Arc::clone(&rooms.registry),
                config.memo_entries_max,
                recheck::Rechecks::new(config.memo_recheck_one_in),
            ),
            underway: Arc::default(),
            beside: Beside::new(rooms.shadow),
            limits: Limits::new(config),
            metrics: Metrics::default(),
            callers: rooms.callers,
            audit: rooms.audit,
            forward: rooms.forward,
            registry: rooms.registry,
            reserve: rooms.reserve,
            holds: rooms.holds,
            obligations: rooms.obligations,
            webhooks: rooms.webhooks,
            access: rooms.access,
            reads: rooms.reads,
            clock: rooms.clock,
            authorities,
        }
    }

    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry);
        self.preparer.rechecks.register(registry);
    }

    /// Holds judgements that memos had a part in against new ones, until it is dropped.
    pub async fn recheck(&self) {
        self.preparer.rechecks.run(&self.audit).await;
    }

    /// Judges what was decided again with a bundle on trial, until it is dropped.
    pub async fn judge_beside(&self) {
        self.beside.run(&self.preparer, &self.clock).await;
    }

    /// Keeps the access engines those of the registry; never returns while that is followed.
    pub async fn follow_access(&self) {
        self.preparer.follow_access(&self.clock).await;
    }

    /// Counts a request that was refused below HTTP.
    pub fn fault(&self, remote: std::net::SocketAddr, rule: &'static str) {
        self.metrics.turned_away(rule);
        let network = caller::network(remote.ip());
        self.audit.stranger(Stranger { issuer: None, reason: rule, network });
    }

    /// From now on every new request is answered 503 `DRAINING`; those under way go on.
    pub fn drain(&self) {
        self.limits.drain();
    }

    /// Answers one request. Dropping the future is safe at every await: before the commit nothing has happened, after
    /// it the audit room closes the ALLOW as `not_forwarded` or `partial`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn handle<B>(&self, connection: &Connection, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let admitted = match self.admit(connection, &head).await {
            Ok(admitted) => admitted,
            Err(refused) => {
                return answer::fitted(&head, self.answer_stranger(connection, &refused));
            }
        };
        let mut known = Known::new(connection, &head, admitted.caller, arrived);
        match workload::route(&head.method, head.uri.path(), head.uri.query()) {
            Ok(route) => known.route = Some(route),
            Err(why) => return answer::fitted(&head, self.refuse(&known, &why).await),
        }
        if known.errand().is_some() {
            // In a box, as others that few requests take: what is never run is not moved with each.
            let answer = Box::pin(self.manage(&head, body, &mut known)).await;
            return answer::fitted(&head, answer);
        }
        let (claims, body) = match self.understand(&head, body, &mut known).await {
            Ok(understood) => understood,
            // No room is not a refusal: nothing was read, so there is nothing to record.
            Err(why) if why.reason == Reason::Overloaded => {
                return self.answer_unavailable(&known, answer::Unavailable::overloaded());
            }
            Err(why) => return self.refuse(&known, &why).await,
        };
        if claims.operation == workload::Operation::Metadata {
            self.preparer.settle(&self.clock).await;
            self.preparer.build_access(&known.caller.org, self.clock.unix_s()).await;
            return match self.metadata(&known, &claims) {
                Ok(answer) => answer,
                Err(why) => self.refuse(&known, &why).await,
            };
        }
        let response = self.decide(&head, &Arc::new(known), &Arc::new(claims), body).await;
        admitted.slot.release_with(response)
    }

    /// Step 4: route and body become claims. Fills in what `known` learns on the way.
    async fn understand<B>(
        &self,
        head: &Parts,
        body: B,
        known: &mut Known,
    ) -> Result<(Claims, Bytes), NotUnderstood>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        let body = self.take(head, body, known).await?;
        let route = known.route.as_ref().ok_or_else(no_route)?;
        let claims = workload::read(route, &head.headers, &body)?;
        Ok((claims, body))
    }

    /// The whole body, within its route's limit.
    async fn take<B>(
        &self,
        head: &Parts,
        body: B,
        known: &mut Known,
    ) -> Result<Bytes, NotUnderstood>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        let bytes_max = known.route.as_ref().map_or(0, |route| route.body_max_bytes);
        let room = (&self.limits, &known.caller.org);
        let body = body::read(body, &head.headers, bytes_max, room).await?;
        known.body_digest = hex::encode(sha256(&body));
        known.body_bytes = body.len() as u64;
        Ok(body)
    }

    /// Steps 5 to 9: facts, decision, record, then forward or refuse. Judged again when the facts moved before the
    /// commit.
    async fn decide(
        &self,
        head: &Parts,
        known: &Arc<Known>,
        claims: &Arc<Claims>,
        body: Bytes,
    ) -> Response<Body> {
        for _ in 0..JUDGE_AGAIN_MAX {
            let ready = match self.ready(known, claims).await {
                Ok(ready) => ready,
                Err(down) => return self.answer_unavailable(known, down),
            };
            if let Some(answer) = self.authority_ended(known) {
                return answer;
            }
            let (keeps, waits_as) = (ready.keeps(known, claims), ready.waits_as());
            let Ready { prepared, target, reserved, more, .. } = ready;
            let draft = draft::build(known, Some(claims), &prepared, target, keeps);
            let recorded = self.audit.record(draft).await;
            // Confirmed by the commit if there was one: else it is given back now.
            drop(reserved);
            let made = Made { known, claims, prepared: &prepared, more: more.as_ref(), site: None };
            match recorded {
                Ok(Recorded::Permit(permit)) => {
                    self.metrics.decided(&prepared.judgement, known.arrived.elapsed());
                    let made = Made { site: Some(&permit.target().site), ..made };
                    self.beside.decided(made, permit.proof(), self.clock.unix_s());
                    let (known, claims) = (Arc::clone(known), Arc::clone(claims));
                    let site = Arc::clone(&permit.target().site);
                    let given = Given { known, claims, site, more };
                    return self.send(head, given, &prepared, permit, body).await;
                }
                Ok(Recorded::Refusal(proof)) => {
                    self.metrics.decided(&prepared.judgement, known.arrived.elapsed());
                    self.beside.decided(made, &proof, self.clock.unix_s());
                    self.alarm_if_engines_differ(&prepared, &proof.id);
                    let hold = prepared.held.as_ref().map(|held| answer::Hold {
                        id: waits_as
                            .map_or_else(|| Arc::clone(&proof.id), |id| id.to_string().into()),
                        persons: held.persons,
                    });
                    return answer::refusal(known, &prepared, &proof, answer::More::Held(hold));
                }
                Err(RecordError::FactsMoved { now }) => self.facts(now).await,
                Err(RecordError::Unreserved) => {}
                Err(error) => return self.answer_unavailable(known, error.into()),
            }
        }
        self.answer_unavailable(known, answer::Unavailable::facts_moving())
    }

    /// Records a refusal that needs no decision by rules, then answers it.
    async fn refuse(&self, known: &Known, why: &NotUnderstood) -> Response<Body> {
        let again = || self.preparer.not_understood(&known.caller, why, self.clock.unix_s());
        let mut prepared = again();
        for _ in 0..JUDGE_AGAIN_MAX {
            let draft = draft::build(known, None, &prepared, None, Keeps::default());
            match self.audit.record(draft).await {
                Ok(Recorded::Refusal(proof)) => {
                    self.metrics.decided(&prepared.judgement, known.arrived.elapsed());
                    return answer::refusal(
                        known,
                        &prepared,
                        &proof,
                        answer::More::NotUnderstood(why),
                    );
                }
                Ok(Recorded::Permit(permit)) => {
                    // A refusal's draft names no site, so audit cannot have made this. Never use it.
                    drop(permit);
                    break;
                }
                Err(RecordError::FactsMoved { now }) => {
                    self.facts(now).await;
                    // Another bundle may be in force by now.
                    prepared = again();
                }
                Err(error) => return self.answer_unavailable(known, error.into()),
            }
        }
        self.answer_unavailable(known, answer::Unavailable::facts_moving())
    }

    /// Step 8: the permit is consumed, the body streams, the outcome follows off the critical path.
    async fn send(
        &self,
        head: &Parts,
        given: Given,
        prepared: &Prepared,
        permit: Permit,
        body: Bytes,
    ) -> Response<Body> {
        let permit = match self.witnessed(prepared, permit).await {
            Ok(permit) => permit,
            Err(proof) => return answer::not_witnessed(&given.known, prepared, &proof),
        };
        let proof = permit.proof().clone();
        let (known, stream) = (Arc::clone(&given.known), given.claims.stream);
        let site = Arc::clone(&given.site);
        let open = self.underway.open(&proof.id, given, prepared);
        let request = forward::Outgoing {
            headers: known.trace.inject(strict::upstream_headers(&head.headers)),
            body,
            stream,
            cutter: open.cutter.clone(),
        };
        let (started, ended) = self.hooks(&open);
        match self.forward.send(permit, request, started, ended).await {
            Ok(mut response) => {
                if stream {
                    response.body_mut().when_cut(move |failure| open.last_event(failure));
                }
                answer::allowed(response.map(Body::new), prepared, &site, &proof)
            }
            Err(error) => {
                self.metrics.site_failed(error.code());
                let message = open.message(error.failure);
                answer::site_failed(&known, error, &message, prepared, &proof)
            }
        }
    }

    /// Where a rule wants it, nothing moves before witnesses cosigned the record.
    async fn witnessed(&self, prepared: &Prepared, permit: Permit) -> Result<Permit, Proof> {
        if !prepared.judgement.wants_witnesses() {
            return Ok(permit);
        }
        let witnessed = Box::pin(self.audit.witness(permit)).await;
        if witnessed.is_err() {
            self.metrics.site_failed(Reason::NotWitnessed.code());
        }
        witnessed
    }

    fn alarm_if_engines_differ(&self, prepared: &Prepared, id: &Arc<str>) {
        let differs = |why: &Why| why.code == Reason::EngineDisagreement;
        if prepared.judgement.decision.reasons.iter().any(differs) {
            let about =
                "casbin and the pure matcher gave different rows for a cell; it was refused";
            self.audit.alarm("engine_disagreement", about.to_owned(), Some(Arc::clone(id)));
        }
    }

    /// Waits, a little, for the facts that a record can be committed on.
    async fn facts(&self, version: i64) {
        self.preparer.wait_for(version, self.clock.unix_s()).await;
    }

    fn answer_unavailable(&self, known: &Known, why: answer::Unavailable) -> Response<Body> {
        self.metrics.unavailable(why.code);
        answer::unavailable(known.protocol(), why)
    }

    fn hooks(&self, open: &Arc<Open>) -> (forward::OnStart, forward::OnEnd) {
        let sent = Instant::now();
        let (audit, id) = (Arc::clone(&self.audit), Arc::clone(&open.id));
        let on_start = Box::new(move |identity: Arc<str>| audit.started(&id, &identity));
        let (audit, underway) = (Arc::clone(&self.audit), Arc::clone(&self.underway));
        let open = Arc::clone(open);
        let on_end = Box::new(move |end: forward::Sent| {
            underway.close(&open.id);
            let id = Arc::clone(&open.id);
            audit.ended(draft::ended(id, &end, sent, open.withdrawn()));
        });
        (on_start, on_end)
    }
}

impl Known {
    fn new(connection: &Connection, head: &Parts, caller: Arc<Caller>, arrived: Instant) -> Self {
        Self {
            caller,
            network: caller::network(connection.remote.ip()),
            trace: Trace::from_head(&head.headers),
            route: None,
            body_digest: hex::encode(sha256(&[])),
            body_bytes: 0,
            korean: language::wants_korean(&head.headers),
            arrived,
        }
    }

    /// What is to be done, if this is of the gateway's own protocol.
    fn errand(&self) -> Option<&Errand> {
        self.route.as_ref()?.errand.as_ref()
    }

    /// In which language what is answered is written.
    const fn language(&self) -> Language {
        if self.korean { Language::Korean } else { Language::English }
    }

    const fn protocol(&self) -> Protocol {
        match &self.route {
            Some(route) => route.protocol,
            None => Protocol::OpenAi,
        }
    }
}

/// A request without a route was refused before.
fn no_route() -> NotUnderstood {
    let message = "no such route".to_owned();
    NotUnderstood { status: 404, reason: Reason::RouteUnknown, message, param: None }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// Facts change by hand or by an authority's order: three in one commit's time is already an incident.
const JUDGE_AGAIN_MAX: usize = 4;

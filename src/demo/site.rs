//! A GPU site without a GPU: a TLS server that speaks the OpenAI protocol, says where it is, and remembers what came.
//!
//! It lets in only its guard, by certificate. What it did not expect (no decision, another path, another caller) it
//! counts, so that "nothing else arrived" is the site's own word.
//!
//! *Invariant:* it keeps digests of what it was sent, never the content.

mod answers;
mod memory;
mod stream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::{self, Answer};
use super::pki::Identity;
use crate::clock::Clock;
use answers::{Here, Kind};
use memory::Memory;
pub use memory::{Report, Seen};

/// What one site is told at its start: the arguments of `haetae demo-site`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Id of the site, as in the registry.
    #[arg(long)]
    pub name: String,
    /// Where it says it is.
    #[arg(long)]
    pub place: String,
    /// Models it serves, comma-separated.
    #[arg(long, value_delimiter = ',')]
    pub models: Vec<String>,
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Its certificate and key, PEM.
    #[arg(long)]
    pub certificate: PathBuf,
    #[arg(long)]
    pub key: PathBuf,
    /// The authority that vouches for who may come in.
    #[arg(long)]
    pub client_ca: PathBuf,
    /// SPIFFE id of whoever brings work: the guard before it.
    #[arg(long)]
    pub gateway: String,
    /// SPIFFE id of whoever may ask what it has seen.
    #[arg(long)]
    pub observer: String,
    /// Pause between two tokens of a stream, in milliseconds.
    #[arg(long, default_value_t = 15)]
    pub token_ms: u64,
}

/// Runs one site as this process: prints its address on a line, and ends when its standard input does, so that it
/// never outlives whoever started it.
pub async fn run(args: Args) -> Result<ExitCode> {
    let listener = TcpListener::bind(args.listen).await?;
    println!("{}", listener.local_addr()?);
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let ended = stop.clone();
    // A thread, not a blocking task: one of those would hold up the runtime's end.
    std::thread::spawn(move || {
        let _closed = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.cancel();
    });
    serve(listener, args, Clock::system(), tracker, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Serves one site on `listener` until `stop`.
pub async fn serve(
    listener: TcpListener,
    args: Args,
    clock: Clock,
    tracker: TaskTracker,
    stop: CancellationToken,
) -> Result<()> {
    let identity = Identity { certificate: args.certificate.clone(), key: args.key.clone() };
    let tls = door::server_config(&identity, Some(&args.client_ca))?;
    let site = Arc::new(Site { args, clock, memory: Memory::default() });
    door::serve(listener, tls, tracker, stop, move |peer, request| {
        let site = Arc::clone(&site);
        async move { site.answer(peer.as_deref(), request).await }
    })
    .await;
    Ok(())
}

struct Site {
    args: Args,
    clock: Clock,
    memory: Memory,
}

impl Site {
    async fn answer(self: Arc<Self>, peer: Option<&str>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if peer == Some(&*self.args.observer) {
            return self.observed(path);
        }
        if peer != Some(&*self.args.gateway) {
            self.memory.surprise(format!("{} {path} from another caller", head.method));
            return problem(StatusCode::FORBIDDEN, "this site serves the gateway only");
        }
        match (&head.method, path) {
            (&Method::GET, "/health" | "/healthz") => {
                door::json(StatusCode::OK, r#"{"status":"ok"}"#)
            }
            (&Method::GET, "/v1/models") => self.models(),
            (&Method::POST, path) if Kind::of(path).is_some() => {
                match Limited::new(body, BODY_BYTES_MAX).collect().await {
                    Ok(body) => self.workload(path, &head.headers, &body.to_bytes()),
                    Err(_) => problem(StatusCode::BAD_REQUEST, "the body did not arrive whole"),
                }
            }
            (method, path) => {
                self.memory.surprise(format!("{method} {path}"));
                problem(StatusCode::NOT_FOUND, "there is nothing here")
            }
        }
    }

    fn workload(self: Arc<Self>, path: &str, head: &HeaderMap, body: &Bytes) -> Answer {
        let Some(decision) = head.get("haetae-decision").and_then(|value| value.to_str().ok())
        else {
            self.memory.surprise(format!("POST {path} without a decision"));
            return problem(StatusCode::FORBIDDEN, "no decision came with this request");
        };
        let mut headers: Vec<String> = head.keys().map(ToString::to_string).collect();
        headers.sort_unstable();
        self.memory.keep(Seen {
            decision: decision.to_owned(),
            path: path.to_owned(),
            body_digest: hex::encode(Sha256::digest(body)),
            receipt: head.contains_key("haetae-receipt") && head.contains_key("haetae-leaf"),
            headers,
        });
        match self.reply(path, body) {
            Ok(answer) => answer,
            Err(error) => problem(StatusCode::BAD_REQUEST, &format!("{error:#}")),
        }
    }

    fn reply(self: Arc<Self>, path: &str, body: &Bytes) -> Result<Answer> {
        let ask: Value = serde_json::from_slice(body).context("the body is not JSON")?;
        let kind = Kind::of(path).context("the path is not served")?;
        let here = Here {
            site: &self.args.name,
            place: &self.args.place,
            created: self.clock.unix_s(),
            digest: hex::encode(Sha256::digest(body)),
        };
        if ask.get("stream").and_then(Value::as_bool) == Some(true) && kind.streams() {
            let pause = Duration::from_millis(self.args.token_ms);
            let events = stream::events(kind, &here, &ask);
            return Ok(stream::answer(events, pause, move |whole| self.memory.streamed(whole)));
        }
        Ok(door::json(StatusCode::OK, answers::whole(kind, &here, &ask).to_string()))
    }

    fn models(&self) -> Answer {
        let entry = |id: &String| json!({ "id": id, "object": "model", "created": 0, "owned_by": self.args.name });
        let data: Vec<Value> = self.args.models.iter().map(entry).collect();
        door::json(StatusCode::OK, json!({ "object": "list", "data": data }).to_string())
    }

    /// `/demo/seen` says everything, `/demo/seen/<hex digest>` what came with this body.
    fn observed(&self, path: &str) -> Answer {
        let Some(digest) = path.strip_prefix("/demo/seen") else {
            return problem(StatusCode::NOT_FOUND, "only /demo/seen is here for you");
        };
        match serde_json::to_vec(&self.memory.report(digest.strip_prefix('/'))) {
            Ok(bytes) => door::json(StatusCode::OK, bytes),
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

fn problem(status: StatusCode, message: &str) -> Answer {
    let error = json!({ "error": { "message": message, "type": "site_error", "param": null, "code": null } });
    door::json(status, error.to_string())
}

/// More than the gateway lets through (its largest route takes less), so that a limit shown is the gateway's.
const BODY_BYTES_MAX: usize = 64 << 20;

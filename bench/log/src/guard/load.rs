//! Closed loops over TLS: each connection sends its next request when the answer to the last is there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::mint::Ticket;
use crate::{dial, draft};

pub struct Done {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

pub fn tls(ca: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let roots = dial::roots(ca).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(dial::tls(roots)?.with_no_client_auth()))
}

/// Sends each ticket once; every one must be let in.
pub async fn run(
    address: &str,
    tls: &Arc<ClientConfig>,
    tickets: &Arc<[Arc<Ticket>]>,
    connections: usize,
) -> anyhow::Result<Done> {
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(connect(address, tls).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let (began, mut loops) = (Instant::now(), JoinSet::new());
    for mut sender in senders {
        let (tickets, next) = (Arc::clone(tickets), Arc::clone(&next));
        loops.spawn(async move {
            let mut times = Vec::new();
            while let Some(ticket) = tickets.get(next.fetch_add(1, Ordering::Relaxed)) {
                let began = Instant::now();
                let status = send(&mut sender, ticket).await?;
                anyhow::ensure!(status == StatusCode::OK, "{status}");
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    for each in loops.join_all().await {
        times.extend(each?);
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    Ok(Done { rate, p50_us: at(50), p99_us: at(99) })
}

/// How many of these the service answered.
pub async fn opened(
    address: &str,
    tls: &Arc<ClientConfig>,
    tickets: &[Arc<Ticket>],
) -> anyhow::Result<usize> {
    let mut sender = connect(address, tls).await?;
    let mut opened = 0;
    for ticket in tickets {
        opened += usize::from(send(&mut sender, ticket).await? == StatusCode::OK);
    }
    Ok(opened)
}

async fn connect(
    address: &str,
    tls: &Arc<ClientConfig>,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("`{address}`"))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    TaskTracker::new().spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    ticket: &Ticket,
) -> anyhow::Result<StatusCode> {
    let request = Request::post(draft::PATH)
        .header("host", draft::AUTHORITY)
        .header("content-type", "application/json")
        .header("haetae-receipt", ticket.receipt.as_ref())
        .header("haetae-leaf", ticket.leaf.as_ref())
        .body(Full::new(Bytes::from_static(draft::BODY.as_bytes())))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

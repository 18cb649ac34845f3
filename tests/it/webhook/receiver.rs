//! A receiver of notices on loopback: refuses each twice before it accepts it, checks every signature by itself, and
//! remembers what arrived.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::webhook::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// It ends with the runtime of its test.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By id: how often it came, and its body once it was accepted. Owned by this lock.
    notices: Mutex<BTreeMap<Uuid, (usize, Option<String>)>>,
    paths: Mutex<Vec<String>>,
    faults: Mutex<Vec<String>>,
    secrets: Mutex<Vec<Vec<u8>>>,
    in_flight: AtomicUsize,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
        let all = Arc::clone(&seen);
        let (tracker, connections) = (TaskTracker::new(), TaskTracker::new());
        tracker.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(Arc::clone(&all).serve(stream));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on each notice must be signed by this, as it was shown.
    pub fn expect_shown(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        *self.seen.secrets.lock().unwrap() = vec![key];
    }

    /// From now on each notice must be signed by these, in this order.
    pub fn expect(&self, secrets: &[&Secret]) {
        let key = |secret: &&Secret| {
            STANDARD.decode(secret.shown_once().strip_prefix("whsec_").unwrap()).unwrap()
        };
        *self.seen.secrets.lock().unwrap() = secrets.iter().map(key).collect();
    }

    pub fn attempts(&self) -> usize {
        self.seen.notices.lock().unwrap().values().map(|(times, _)| times).sum()
    }

    /// What was accepted, by id.
    pub fn accepted(&self) -> Vec<(Uuid, String)> {
        let notices = self.seen.notices.lock().unwrap();
        notices.iter().filter_map(|(id, (_, body))| Some((*id, body.clone()?))).collect()
    }

    /// Types of what was accepted.
    pub fn kinds(&self) -> Vec<String> {
        let kind = |(_, body): &(Uuid, String)| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            body["type"].as_str().unwrap().to_owned()
        };
        self.accepted().iter().map(kind).collect()
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen.paths.lock().unwrap().clone()
    }

    /// What a receiver must never see.
    pub fn faults(&self) -> Vec<String> {
        self.seen.faults.lock().unwrap().clone()
    }
}

impl Seen {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let Some((head, body)) = read(&mut stream).await else { return };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.paths.lock().unwrap().push(path.clone());
        let slow = path == "/hook";
        if slow && self.in_flight.fetch_add(1, Ordering::SeqCst) > 0 {
            self.fault("two notices at once");
        }
        let status = match path.as_str() {
            "/hook" => self.take(&head, body),
            "/gone" => "410 Gone",
            "/moved" => "302 Found\r\nlocation: /secret",
            _ => "500 Internal Server Error",
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        if slow {
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    fn take(&self, head: &str, body: String) -> &'static str {
        let (id, timestamp) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
        let signed = format!("{id}.{timestamp}.{body}");
        let sign = |key: &Vec<u8>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(signed.as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        let expected: Vec<String> = self.secrets.lock().unwrap().iter().map(sign).collect();
        if header(head, "webhook-signature") != expected.join(" ") {
            self.fault("a wrong signature");
        }
        if timestamp.parse::<i64>().is_err() {
            self.fault("no timestamp");
        }
        let mut notices = self.notices.lock().unwrap();
        let (times, accepted) = notices.entry(id.parse().unwrap()).or_default();
        *times += 1;
        if *times <= REFUSALS {
            return "503 Service Unavailable";
        }
        if accepted.as_ref().is_some_and(|before| *before != body) {
            self.fault("another body under the same id");
        }
        *accepted = Some(body);
        "204 No Content"
    }

    fn fault(&self, what: &str) {
        self.faults.lock().unwrap().push(what.to_owned());
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = header(head, "content-length").parse().unwrap_or(0);
            if body.len() >= length {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return None,
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = |line: &'a str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    };
    head.lines().find_map(line).unwrap_or_default()
}

const REFUSALS: usize = 2;

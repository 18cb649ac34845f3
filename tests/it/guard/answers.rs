//! What a service's answer says of its connection stays there.

use http::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A site whose service answers with these bytes, and closes.
async fn answering(bytes: &'static [u8]) -> (Site, Arc<Guard>) {
    let site = Site::open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let tracker = TaskTracker::new();
    tracker.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut came, mut piece) = (Vec::new(), [0; 4_096]);
        while !came.ends_with(BODY.as_bytes()) {
            let read = stream.read(&mut piece).await.unwrap();
            came.extend_from_slice(&piece[..read]);
        }
        stream.write_all(bytes).await.unwrap();
    });
    let journal = site.config.journal.with_extension("other");
    let config = Config { upstream, journal, ..site.config.clone() };
    let guard = start(&config, &site.clock, &site.stop);
    (site, guard)
}

/// The gateway would take what stands before that length for the whole answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_cuts_no_answer() {
    let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n8\r\nABCDEFGH\r\n0\r\n\r\n";
    let (site, guard) = answering(bytes).await;
    let proof = site.allow().await;
    let request = request(&proof).map(|body| body.map_err(|never| match never {}));
    let (head, body) = guard.handle("203.0.113.0/24", request).await.into_parts();
    assert_eq!(head.headers.get("content-length"), None);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ABCDEFGH");
    site.lab.stop().await;
}

/// On our own connection the end of an answer is to be told from a connection that broke.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_http_1_0_is_ours_to_frame() {
    let (site, guard) = answering(b"HTTP/1.0 200 OK\r\n\r\nhi").await;
    let proof = site.allow().await;
    let request = request(&proof).map(|body| body.map_err(|never| match never {}));
    let response = guard.handle("203.0.113.0/24", request).await;
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));
    site.lab.stop().await;
}

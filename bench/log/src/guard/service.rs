//! A service that answers at once, over plain http on this machine.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

pub async fn start() -> anyhow::Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let tracker = TaskTracker::new();
    let connections = tracker.clone();
    tracker.spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let _ = stream.set_nodelay(true);
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            connections.spawn(connection);
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _whole = request.into_body().collect().await;
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from_static(ANSWER.as_bytes()))).unwrap_or_default())
}

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1763900000,"model":"assistant","choices":[{"index":0,"message":{"role":"assistant","content":"Scans 12 to 19 were read by Dr. Kim and Dr. Park this week."},"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":17,"total_tokens":48}}"#;

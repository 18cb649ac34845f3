//! Bodies as they cross this room: requests at a minimum rate, answers that tell when they are through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::config::{H2_PIECE, Limits};
use super::connection::Flight;
use super::turn;

/// The body of a request. Errors: `TimedOut` when it is slower than the limits allow, `InvalidData` when its framing
/// is malformed, `ConnectionAborted` when the client went away.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    pace: Pace,
    /// Set at the first wait: a body that came with its head never asks for the time.
    waiting: Option<Waiting>,
    received: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    rate_min: u32,
    grace_ms: u64,
    whole_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
    armed_at: u64,
}

impl RequestBody {
    pub(super) const fn new(inner: Incoming, limits: &Limits) -> Self {
        let pace = Pace {
            rate_min: limits.body_rate_min,
            grace_ms: limits.body_grace_ms,
            whole_ms: limits.body_read_ms,
        };
        Self { inner, pace, waiting: None, received: 0 }
    }

    /// The time that the bytes so far have bought has run out.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let allowed = self.pace.allowed(self.received);
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            let until = Box::pin(tokio::time::sleep_until(since + allowed));
            Waiting { since, until, armed_at: self.received }
        });
        if waiting.armed_at != self.received {
            waiting.until.as_mut().reset(waiting.since + allowed);
            waiting.armed_at = self.received;
        }
        waiting.until.as_mut().poll(cx)
    }
}

impl Pace {
    fn allowed(self, received: u64) -> Duration {
        let bought = received.saturating_mul(1_000) / u64::from(self.rate_min.max(1));
        Duration::from_millis(self.grace_ms.saturating_add(bought).min(self.whole_ms))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(kind_of(&error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_late(cx).map(|()| {
                let slow = "the body did not arrive at the minimum rate";
                Some(Err(io::Error::new(io::ErrorKind::TimedOut, slow)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// hyper's errors are opaque; only the two cases with answers of their own are told apart.
fn kind_of(error: &hyper::Error) -> io::Error {
    let broken =
        std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .any(|cause| {
                matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
            });
    if broken || error.is_parse() {
        io::Error::new(io::ErrorKind::InvalidData, "the framing of the body is malformed")
    } else {
        io::Error::new(io::ErrorKind::ConnectionAborted, "the body ended early")
    }
}

/// What goes back: the service's body, or the listener's own words.
pub enum Answer<B> {
    Service {
        body: B,
        /// What the body gave and the client has not taken yet. Empty on HTTP/1.
        rest: Bytes,
        /// Ends when the body was sent or given up.
        flight: Flight,
    },
    Fault(Option<Bytes>),
}

impl<B: super::ResponseBody> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.get_mut() {
            Self::Service { body, rest, .. } => {
                let polled = if rest.is_empty() {
                    Pin::new(body).poll_frame(cx)
                } else {
                    Poll::Ready(Some(Ok(Frame::data(std::mem::take(rest)))))
                };
                if !turn::moves(polled.is_ready()) {
                    return polled;
                }
                polled.map_ok(|frame| frame.map_data(|data| piece(data, rest)))
            }
            Self::Fault(text) => {
                turn::moves(true);
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service { body, rest, .. } => rest.is_empty() && body.is_end_stream(),
            Self::Fault(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service { body, rest, .. } => {
                body.size_hint() + SizeHint::with_exact(rest.len() as u64)
            }
            Self::Fault(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

/// As much as one frame carries; the rest waits for the client to take that. hyper would keep all of it for a client that gave
/// room for one byte, and call the answer sent.
fn piece(mut data: Bytes, rest: &mut Bytes) -> Bytes {
    if data.len() > H2_PIECE {
        *rest = data.split_off(H2_PIECE);
    }
    data
}

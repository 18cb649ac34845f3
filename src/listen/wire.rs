//! The stream under hyper: lets HTTP/1 heads through only whole and checked, sees whether the client takes what it is
//! sent, and closes without destroying the last answer.
//!
//! A head that arrives in one read (nearly all do) is checked in hyper's own buffer: no copy, no allocation, no timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::io::poll_read_buf;

use super::config::{LINGER, LINGER_BYTES_MAX};
use super::connection::Vitals;
use super::fault::Fault;
use super::framing::{Then, Tracker};

pub(super) struct Wire<S> {
    stream: S,
    vitals: Arc<Vitals>,
    /// Absent on HTTP/2, whose frames leave nothing to guess.
    gate: Option<Gate>,
    linger: Option<Linger>,
}

struct Gate {
    tracker: Tracker,
    /// Checked, and not yet handed to hyper because its buffer was full.
    cleared: Bytes,
    /// An unfinished head.
    held: BytesMut,
    head_read: Duration,
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
    refused: bool,
    /// The body that hyper is reading is malformed from here on.
    broken: Option<Fault>,
}

struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Wire<S> {
    pub fn http1(stream: S, vitals: Arc<Vitals>, head_read: Duration) -> Self {
        let gate = Gate {
            tracker: Tracker::new(),
            cleared: Bytes::new(),
            held: BytesMut::new(),
            head_read,
            deadline: None,
            refused: false,
            broken: None,
        };
        Self { stream, vitals, gate: Some(gate), linger: None }
    }

    pub fn http2(stream: S, vitals: Arc<Vitals>) -> Self {
        Self { stream, vitals, gate: None, linger: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.gate {
            None => Pin::new(&mut this.stream).poll_read(cx, out),
            Some(gate) => gate.poll_read(&mut this.stream, &this.vitals, cx, out),
        }
    }
}

impl Gate {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        vitals: &Vitals,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.cleared.has_remaining() {
                let length = self.cleared.len().min(out.remaining());
                out.put_slice(&self.cleared.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if self.refused {
                // hyper closes after the answer; until then it must not take this for the client going away
                return Poll::Pending;
            }
            if let Some(fault) = self.broken {
                let error = io::Error::new(io::ErrorKind::InvalidData, fault.message());
                return Poll::Ready(Err(error));
            }
            let passed = if self.held.is_empty() {
                ready!(self.poll_fresh(stream, vitals, cx, out))?
            } else {
                ready!(self.poll_held(stream, vitals, cx))?
            };
            if passed {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads into hyper's buffer. True when hyper has something to look at: bytes, or the end.
    fn poll_fresh<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        vitals: &Vitals,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = out.filled().len();
        ready!(Pin::new(stream).poll_read(cx, out))?;
        let fresh = out.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let look = self.tracker.look(fresh);
        if look.then == Then::Hold {
            self.held.extend_from_slice(fresh.get(look.pass..).unwrap_or_default());
        }
        out.set_filled(before + look.pass);
        self.conclude(look.then, vitals);
        Poll::Ready(Ok(look.pass > 0))
    }

    /// Reads on at an unfinished head. True at the end: a client that goes away in mid-head is seen by hyper as one
    /// that goes away between two requests.
    fn poll_held<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        vitals: &Vitals,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        match poll_read_buf(Pin::new(stream), cx, &mut self.held) {
            Poll::Pending => {
                ready!(self.poll_deadline(cx));
                self.refuse(Fault::HeadTooSlow, vitals);
            }
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(true)),
            Poll::Ready(Ok(_)) => {
                let look = self.tracker.look(&self.held);
                self.cleared = self.held.split_to(look.pass).freeze();
                self.conclude(look.then, vitals);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(false))
    }

    fn conclude(&mut self, then: Then, vitals: &Vitals) {
        match then {
            Then::More | Then::Hold => {}
            Then::Refuse(fault) => self.refuse(fault, vitals),
            // what passed before it goes first
            Then::Break(fault) => {
                self.held.clear();
                self.broken = Some(fault);
            }
        }
    }

    /// In place of the refused head, hyper reads a harmless one in its turn, so that answers stay in order; the
    /// connection answers that one request itself and closes.
    fn refuse(&mut self, fault: Fault, vitals: &Vitals) {
        vitals.refuse(self.tracker.heads(), fault);
        self.held.clear();
        self.refused = true;
        let mut cleared = BytesMut::from(&*std::mem::take(&mut self.cleared));
        cleared.extend_from_slice(STAND_IN);
        self.cleared = cleared.freeze();
    }

    /// The time that the head now held still has.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let head = self.tracker.heads();
        let armed = self.deadline.take().filter(|(of, _)| *of == head);
        let (_, sleep) = self
            .deadline
            .insert(armed.unwrap_or_else(|| (head, Box::pin(tokio::time::sleep(self.head_read)))));
        sleep.as_mut().poll(cx)
    }

    /// True when closing now would leave bytes of the client unread.
    const fn is_owed(&self) -> bool {
        self.refused || self.tracker.in_body()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.vitals.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.vitals.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.vitals.wrote(flushed.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.gate.as_ref().is_some_and(Gate::is_owed) {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            until: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_BYTES_MAX,
        });
        if linger.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4_096];
        while linger.left > 0 {
            let mut read = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(read.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Read by hyper where a refused head stood; never seen by a service.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

#[cfg(test)]
mod tests;
